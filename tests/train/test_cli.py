import json
import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cache_schema.errors import CheckpointError, ConfigError
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.runs import make_config, use_toy_task
from train.cli import train
from train.run import Trained


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    monkeypatch.chdir(tmp_path)
    config = make_config(tmp_path)
    flags = {
        "--features": config.features,
        "--task": "toy",
        "--annotations": "none",
        "--llm": config.llm.name,
        "--out": "run",
        "--epochs": "2",
        "--batch-size": "2",
        "--lr": "0.01",
        "--device": "cpu",
    }
    settings = ["train.llm.num_layers=0", "train.data.window_rows=16", "train.data.context_rows=4"]
    return [*sum(flags.items(), ()), *sum((("--set", one) for one in settings), ())]


def call(*arguments):
    return CliRunner().invoke(train, arguments, catch_exceptions=False)


def test_help_answers_at_once_without_torch():
    code = (
        "import sys\nfrom train.cli import train\n"
        "try:\n    train(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--features" in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.5


def test_a_run_prints_its_scores_beside_the_baselines(arguments):
    lines = call(*arguments).stdout.splitlines()
    assert lines[0].split() == ["metric", "model", "chance", "majority"]
    assert lines[1].split()[0] == "accuracy"
    assert lines[1].split()[2:] == ["33.33", "40.00"]
    assert "run/checkpoint-best" in "\n".join(lines)


def test_json_is_one_object_with_the_numbers(arguments, tmp_path):
    result = json.loads(call(*arguments, "--json").stdout)
    assert {"metrics", "baselines", "run", "steps", "seconds"} <= result.keys()
    assert result["steps"] == 6
    assert result["metrics"]["accuracy"] > 0
    assert (tmp_path / result["run"] / "predictions" / "val").exists()


def test_a_dry_run_counts_and_writes_nothing(arguments, tmp_path):
    result = json.loads(call(*arguments, "--dry-run", "--json").stdout)
    assert result["trainable_parameters"] == {
        "llm": 0,
        "translator": 6 * 32 + 32,
        "heads": 32 * 3 + 3,
    }
    assert result["reads"]["train rows"] == 71
    assert result["steps"] == 6
    assert "run/checkpoint-last" in result["writes"]
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_what_an_llm_trains_without_features_or_task(tmp_path):
    llm = str(save_tiny_llm("gpt2", tmp_path / "gpt2"))
    result = json.loads(call("--dry-run", "--json", "--llm", llm, "--tuning", "prompt:3").stdout)
    # A feature of the default encoder has 1,280 values, the LLM is 32 wide.
    assert result["trainable_parameters"] == {
        "llm": 3 * 32,
        "translator": 1280 * 32 + 32,
        "heads": 0,
    }
    assert result["steps"] is None
    assert "1280 values assumed" in result["reads"]["features"]


def test_a_dry_run_without_annotations_counts_no_heads(tmp_path):
    config = make_config(tmp_path)
    flags = ["--task", "moment_query", "--features", config.features, "--llm", config.llm.name]
    result = json.loads(call(*flags, "--dry-run", "--json").stdout)
    assert result["trainable_parameters"] == {"llm": 0, "translator": 6 * 32 + 32, "heads": 0}
    assert result["reads"]["annotations"] == "none given; heads not counted"


def test_a_dry_run_knows_the_tasks():
    with pytest.raises(ConfigError, match="Did you mean 'moment_query'"):
        call("--task", "moment_qery", "--llm", "none", "--dry-run")


def test_a_dry_run_reads_well(arguments):
    assert "trainable translator  224" in call(*arguments, "--dry-run").stdout


def test_missing_flags_are_one_sentence():
    with pytest.raises(ConfigError, match="vllm-train needs --task, --annotations"):
        call("--features", "f.zarr", "--config", "/dev/null")


def test_a_run_is_not_overwritten_but_resumed(arguments):
    first = json.loads(call(*arguments, "--json").stdout)
    with pytest.raises(CheckpointError, match="--resume goes on with it, --out starts another"):
        call(*arguments)
    again = json.loads(call(*arguments, "--json", "--resume").stdout)
    assert again["metrics"] == first["metrics"]
    assert again["best_epoch"] == first["best_epoch"]


def test_resuming_with_other_settings_names_them(arguments):
    call(*arguments)
    with pytest.raises(CheckpointError, match=r"optim\.lr = 0\.01, not 0\.5"):
        call(*arguments, "--resume", "--lr", "0.5")


def test_missing_videos_are_reported(tmp_path):
    report = Trained(
        metrics={"Acc": 1.0},
        baselines={},
        run=tmp_path,
        steps=1,
        seconds=1.0,
        best_epoch=1,
        missing=["x", "y"],
    )
    assert "without 2 videos" in report.text()
    assert report.to_json()["missing_videos"] == ["x", "y"]


FLAGS = {
    "--features", "--task", "--tuning", "--annotations", "--llm", "--stream", "--out", "--epochs",
    "--lr", "--batch-size", "--seed", "--device", "--allow-missing", "--resume", "--set",
    "--config", "--dry-run", "--json", "--wandb", "--print-job-script",
}  # fmt: skip


def test_the_list_of_flags_is_frozen():
    assert {option for parameter in train.params for option in parameter.opts} == FLAGS
