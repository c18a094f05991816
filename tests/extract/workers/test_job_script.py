import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cache_schema.errors import ConfigError
from extract.cli import extract_command
from extract.workers.config import ClusterConfig
from extract.workers.job_script import job_script

ODD = 'it\'s a "folder" $(x)'


def script(*arguments, **settings):
    return job_script(
        arguments or ("--out", "f.zarr", "--", "videos"),
        Path("f.zarr"),
        ClusterConfig(**settings),
        python="/opt/env/bin/python",
        folder=Path("/data/project"),
    )


def directives(text):
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if "#SBATCH" in line]


def test_the_array_has_a_task_for_each_share():
    text = script(max_jobs=3, cores=2, memory_gib=5, walltime="1-00:00:00")
    assert directives(text) == [
        "--job-name=vllm-extract", "--array=0-2", "--ntasks=1", "--cpus-per-task=2", "--mem=5G",
        "--time=1-00:00:00", "--requeue", "--open-mode=append",
    ]  # fmt: skip
    assert '--shard "${SLURM_ARRAY_TASK_ID:?submit this file with sbatch}/3"' in text


def test_what_the_site_needs_is_asked_for_in_order():
    text = script(
        partition="gpu", account="me", gpus=1, directives=("--constraint=a100",),
        prologue=("module load cuda",),
    )  # fmt: skip
    asked = ["--partition=gpu", "--account=me", "--gres=gpu:1"]
    assert [line for line in directives(text) if line in asked] == asked
    assert directives(text)[-1] == "--constraint=a100"
    assert text.index("module load cuda") < text.index("set -euo") < text.index("exec")


@pytest.mark.parametrize("names", [("videos",), (ODD, "b c"), ("--odd",), ("line\nbreak",)])
def test_the_script_is_right_shell_and_hands_every_word_on(tmp_path, names):
    folder = tmp_path / ODD
    folder.mkdir()
    # In place of the interpreter: what would it be given, where, and in which environment?
    python = folder / "python"
    python.write_text('#!/bin/sh\npwd; echo "$PYTHONSAFEPATH$OMP_NUM_THREADS"; printf "%s\\0" "$@"')
    python.chmod(0o755)
    arguments = ["--out", f"{ODD}.zarr", "--", *names]
    store = Path(f"{ODD}\n.zarr")
    text = job_script(arguments, store, ClusterConfig(), python=str(python), folder=folder)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    environment = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "3", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash"], input=text, text=True, check=True, capture_output=True, env=environment
    )
    where, settings, words = done.stdout.split("\n", 2)
    assert (where, settings) == (str(folder), "13")
    start = ["-c", "from extract.cli import main; main()", "--shard", "2/4"]
    assert words.split("\0")[:-1] == start + arguments


def test_outside_of_sbatch_it_says_so(tmp_path):
    text = script().replace("/data/project", str(tmp_path))
    done = subprocess.run(
        ["bash"], input=text, text=True, check=False, capture_output=True, env={"PATH": "/bin"}
    )
    assert done.returncode
    assert "submit this file with sbatch" in done.stderr


def printed(*arguments):
    return CliRunner().invoke(extract_command, [*arguments, "--print-job-script"])


def test_the_command_line_is_printed_as_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text("[cluster]\nmax_jobs = 9\ncores = 3\n")
    result = printed(
        "b c", "a", "--out", "f.zarr", "--encoder", "fake", "--encoder", "other", "--fps", "30/7",
        "--set", "extract.batch_size=4", "--retry-failed", "--shard", "1/2",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    assert (
        "--out f.zarr --encoder fake --encoder other --fps 30/7 --set extract.batch_size=4 "
        "--retry-failed -- 'b c' a\n"
    ) in result.stdout
    assert "--array=0-8" in result.stdout
    assert f"PYTHON={sys.executable}\n" in result.stdout
    assert not Path("f.zarr").exists()


def test_a_job_with_several_gpus_runs_a_worker_on_each():
    gpus = ["--set", "cluster.gpus=2"]
    assert "--workers 2 --out" in printed("a", "--out", "f.zarr", *gpus).stdout
    assert "--workers 4" in printed("a", "--out", "f.zarr", "--workers", "4", *gpus).stdout


def test_an_array_for_an_hdf5_store_is_refused():
    result = printed("a", "--out", "f.h5")
    assert isinstance(result.exception, ConfigError)
    assert "takes one writer at a time" in str(result.exception)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cores": 0}, "cores is 0, must be at least 1"),
        ({"gpus": -1}, "gpus is -1, must not be negative"),
        ({"min_jobs": 5}, "max_jobs is 4, less than min_jobs 5"),
        ({"walltime": "8h"}, "expected .days-.hours:minutes:seconds"),
        ({"prologue": ("a\nb",)}, "has more than one line"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ClusterConfig(**settings)
