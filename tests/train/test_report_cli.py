import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cache_schema.errors import CheckpointError
from tests.train.pages.run_folders import checkpoint_of, result_of, step, write_log, write_run
from train.report_cli import report


def call(*arguments):
    return CliRunner().invoke(report, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in ("1", "2"):
        folder = tmp_path / "runs" / "toy" / number
        write_run(folder, checkpoint=checkpoint_of(), result=result_of())
    return tmp_path / "runs" / "toy"


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom train.report_cli import report\n"
        "try:\n    report(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'jinja2', 'altair', 'numpy'}\n"
        "assert not heavy & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "RUN..." in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_run_that_has_ended_needs_no_torch(runs, options):
    code = (
        "import sys\nfrom train.report_cli import report\n"
        "report(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, runs / "1", *options], check=True)


def test_the_page_of_a_run_lies_in_its_folder(runs):
    done = call(runs / "1")
    page = runs / "1" / "report.html"
    assert done.stdout == f"{page}: open it in a browser.\n"
    assert "Run toy/1" in page.read_text()


def test_a_folder_of_runs_stands_for_the_newest(runs):
    call(runs)
    assert (runs / "2" / "report.html").exists()
    assert not (runs / "1" / "report.html").exists()


def test_the_page_of_several_lies_here_or_where_it_is_asked_for(runs, tmp_path):
    call(runs / "1", runs / "2")
    assert "2 runs" in (tmp_path / "report.html").read_text()
    call(runs / "1", runs / "2", "--out", "deep/both.html")
    assert (tmp_path / "deep" / "both.html").exists()
    assert not (runs / "1" / "report.html").exists()


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    write_log(tmp_path / "run", [step(1, 1, 2.0), step(2, 1, 1.0)])
    call(tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text()
    assert "no result yet" in text
    assert "No scores yet" in text
    assert "not known here" in text


def test_json_is_one_object_with_the_facts_and_no_page(runs):
    said = json.loads(call(runs / "1", runs / "2", "--json").stdout)
    first = said["runs"][0]
    assert first["run"] == "toy/1"
    assert first["scores"] == {"toy": {"accuracy": 60.0}}
    assert first["baselines"] == {"toy": {"chance": {"accuracy": 33.0}}}
    assert (first["best_epoch"], first["best_step"]) == (1, 2)
    assert first["cost"]["rows"] == 64
    # Two epochs of each run; each epoch reads half of the rows that were extracted in 100 s.
    (cache,) = said["caches"]
    assert cache["runs"] == ["toy/1", "toy/2"]
    assert cache["payback"] == {
        "num_runs": 2, "epochs": 4, "extraction_seconds": 50.0, "saved_seconds": 150.0, "times": 3.0
    }  # fmt: skip
    assert list(runs.glob("*/report.html")) == []


def test_no_run_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="no run here"):
        call(tmp_path)
