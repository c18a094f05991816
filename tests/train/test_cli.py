import json
import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cache_schema.errors import (
    AnnotationError,
    CheckpointError,
    ConfigError,
    StoreNotFoundError,
)
from tests.train.model.tiny_llms import LAYERS, WIDTH, save_tiny_llm
from tests.train.runs import make_config, use_toy_task
from train.cli import train
from train.finished_run import FinishedRun
from train.loop.trainer import Trainer
from train.runs import newest_number


@pytest.fixture
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


OF_ADAPTERS = LAYERS * 16 * 2 * ((WIDTH + WIDTH) + (WIDTH + WIDTH // 2))
"""Of rank 16 on queries and outputs, and on keys and values, which have half as many heads."""
OF_SIDE = (6 * 128 + 128) + 2 * 3 * (128 * 128 + 128) + (128 * WIDTH + WIDTH)
"""Six features enter 128 recurrent units of three gates, and leave as wide as the LLM's states."""


@pytest.fixture
def arguments(tmp_path, monkeypatch, toy):
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
    assert result["predictions"] == {"toy": "run/predictions/val/toy.json"}
    assert (tmp_path / result["predictions"]["toy"]).is_file()


def test_a_dry_run_counts_and_writes_nothing(arguments, tmp_path):
    result = json.loads(call(*arguments, "--dry-run", "--json").stdout)
    assert result["trainable_parameters"] == {
        "llm": OF_ADAPTERS,
        "side": OF_SIDE,
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
        "side": 0,
        "translator": 1280 * 32 + 32,
        "heads": 0,
    }
    assert result["steps"] is None
    assert "1280 values assumed" in result["reads"]["features"]


def test_a_dry_run_without_annotations_counts_no_heads(tmp_path):
    config = make_config(tmp_path)
    flags = ["--task", "moment_query", "--features", config.features, "--llm", config.llm.name]
    result = json.loads(call(*flags, "--dry-run", "--json").stdout)
    counts = {"llm": OF_ADAPTERS, "side": 0, "translator": 6 * 32 + 32, "heads": 0}
    assert result["trainable_parameters"] == counts
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


@pytest.mark.parametrize("way", [[], ["--resume"]])
def test_a_command_typed_while_a_run_is_at_work_in_its_folder_is_refused(
    arguments, monkeypatch, way
):
    train_alone, refusals = Trainer.train, []

    def type_it_again(trainer):
        with pytest.raises(CheckpointError, match="run: another process trains in this folder"):
            call(*arguments, *way)
        refusals.append(way)
        train_alone(trainer)

    monkeypatch.setattr(Trainer, "train", type_it_again)
    assert json.loads(call(*arguments, "--json").stdout)["steps"] == 6
    assert len(refusals) == 1


def test_inputs_are_checked_before_the_folder(arguments):
    call(*arguments)
    with pytest.raises(StoreNotFoundError, match=r"nothing\.zarr"):
        call(*arguments, "--features", "nothing.zarr")


@pytest.fixture
def numbered(arguments):
    """The same command without ``--out``."""
    place = arguments.index("--out")
    return arguments[:place] + arguments[place + 2 :]


def run_of(*arguments):
    return json.loads(call(*arguments, "--json").stdout)["run"]


def test_the_same_command_typed_twice_is_two_runs(numbered, tmp_path):
    assert [run_of(*numbered) for _ in range(2)] == ["runs/toy/1", "runs/toy/2"]
    assert (tmp_path / "runs" / "toy" / "2" / "checkpoint-best").exists()


def test_resuming_goes_on_with_the_newest_run(numbered, tmp_path):
    assert run_of(*numbered, "--resume") == "runs/toy/1"
    run_of(*numbered)
    result = call(*numbered, "--resume", "--json")
    assert json.loads(result.stdout)["run"] == "runs/toy/2"
    assert "runs/toy/2: goes on after step 6" in result.stderr
    assert newest_number(tmp_path / "runs" / "toy") == 2


def test_a_run_that_has_no_checkpoint_yet_is_begun_again(numbered, tmp_path):
    run_of(*numbered)
    (tmp_path / "runs" / "toy" / "2").mkdir()
    result = call(*numbered, "--resume", "--json")
    assert json.loads(result.stdout)["run"] == "runs/toy/2"
    assert "runs/toy/2: starts" in result.stderr


def test_resuming_the_newest_run_with_other_settings_names_them(numbered):
    call(*numbered)
    with pytest.raises(CheckpointError, match=r"runs/toy/1: .* optim\.lr = 0\.01, not 0\.5"):
        call(*numbered, "--resume", "--lr", "0.5")


def test_a_run_that_fails_at_once_takes_no_number(numbered, tmp_path, monkeypatch):
    monkeypatch.setattr("train.run.Trainer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call(*numbered)
    assert not list((tmp_path / "runs" / "toy").iterdir())
    monkeypatch.undo()


def test_a_command_that_is_refused_takes_no_number(numbered, tmp_path):
    with pytest.raises(StoreNotFoundError):
        call(*numbered, "--features", "nothing.zarr")
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_names_the_next_number_and_does_not_take_it(numbered, tmp_path):
    def writes(*more):
        return json.loads(call(*numbered, "--dry-run", "--json", *more).stdout)["writes"][0]

    assert writes() == "runs/toy/1/checkpoint-last"
    assert not (tmp_path / "runs").exists()
    call(*numbered)
    assert writes() == "runs/toy/2/checkpoint-last"
    assert writes("--resume") == "runs/toy/1/checkpoint-last"


def test_resuming_with_other_settings_names_them(arguments):
    call(*arguments)
    with pytest.raises(CheckpointError, match=r"optim\.lr = 0\.01, not 0\.5"):
        call(*arguments, "--resume", "--lr", "0.5")


def test_missing_videos_are_reported(tmp_path):
    report = FinishedRun(
        metrics={"Acc": 1.0},
        baselines={},
        run=tmp_path,
        steps=1,
        seconds=1.0,
        best_epoch=1,
        predictions={"toy": tmp_path / "toy.json", "dish": tmp_path / "dish"},
        missing=["x", "y"],
    )
    assert "without 2 videos" in report.text()
    lines = report.text().splitlines()
    assert f"predictions  {tmp_path}/toy.json" in lines
    assert f"predictions  {tmp_path}/dish" in lines
    assert report.to_json()["missing_videos"] == ["x", "y"]


LATE = (
    "toy: 1 of 3 annotated records end behind the rows of their video: "
    "d at 900 s (rows end at 15 s)"
)


def test_records_behind_their_video_are_a_warning_before_training(arguments, toy):
    toy.record_ends = {"a": (2.0,), "d": (3.0, 900.0)}
    result = call(*arguments, "--json")
    assert result.stderr.splitlines()[0].startswith(f"warning: {LATE}. ")
    ends = json.loads(result.stdout)["record_ends"]["toy"]
    assert (ends["records"], ends["beyond"], ends["first"][0]["video"]) == (3, 1, "d")
    assert LATE in call(*arguments, "--resume").stdout


def test_a_dry_run_tells_records_behind_their_video(arguments, toy):
    toy.record_ends = {"a": (2.0,), "d": (3.0, 900.0)}
    assert f"\nwarning: {LATE}\n" in call(*arguments, "--dry-run").stdout
    ends = json.loads(call(*arguments, "--dry-run", "--json").stdout)["record_ends"]
    assert ends["toy"]["beyond"] == 1


def test_records_that_fit_are_not_spoken_of(arguments, toy):
    toy.record_ends = {"a": (2.0,), "d": (15.5,)}
    result = call(*arguments)
    assert "annotated records" not in result.stdout + result.stderr


def test_times_in_another_unit_stop_the_run_before_it_has_a_folder(arguments, toy, tmp_path):
    toy.record_ends = {"a": (200.0,), "d": (3.0, 900.0)}
    with pytest.raises(AnnotationError, match=r"2 of 3 .* frame numbers instead of seconds"):
        call(*arguments)
    assert not (tmp_path / "run").exists()


FLAGS = {
    "--features", "--task", "--tuning", "--annotations", "--llm", "--stream", "--out", "--epochs",
    "--lr", "--batch-size", "--seed", "--device", "--allow-missing", "--resume", "--set",
    "--config", "--dry-run", "--json", "--wandb", "--print-job-script",
}  # fmt: skip


def test_the_list_of_flags_is_frozen():
    assert {option for parameter in train.params for option in parameter.opts} == FLAGS
