import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cache_schema.errors import AnnotationError, CheckpointError, ConfigError
from tests.train.runs import make_config, make_trainer, use_toy_task
from train.export_cli import export
from train.predict_cli import predict


@pytest.fixture
def run(tmp_path, monkeypatch):
    toy = use_toy_task(monkeypatch)
    trainer = make_trainer(make_config(tmp_path), tmp_path / "run")
    trainer.train()
    trainer.score_best()
    return tmp_path, toy


def call(root, *more):
    arguments = [str(root / "run"), "--features", str(root / "f.zarr"), "--device", "cpu", *more]
    return CliRunner().invoke(predict, arguments, catch_exceptions=False)


def test_the_submission_is_that_of_the_best_checkpoint(run):
    root, _ = run
    result = call(root, "--out", str(root / "new" / "submission.json"))
    written = (root / "new" / "submission.json").read_text()
    assert json.loads(written) == json.loads(
        (root / "run" / "predictions" / "val" / "toy.json").read_text()
    )
    assert "2 samples predicted, 0 videos missing" in result.stdout


def test_missing_videos_are_refused_unless_allowed(run):
    root, toy = run
    toy.val["zz"] = 4
    with pytest.raises(AnnotationError, match="zz"):
        call(root, "--out", str(root / "p.json"))
    assert (
        "1 videos missing"
        in call(root, "--out", str(root / "p.json"), "--allow-missing", "1").stdout
    )


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no whole checkpoint here"):
        call(tmp_path, "--out", str(tmp_path / "p.json"))


def test_a_folder_of_runs_gives_its_newest_one_and_says_so(run):
    root, _ = run
    runs = root / "runs" / "toy"
    runs.mkdir(parents=True)
    (root / "run").rename(runs / "1")
    (runs / "2").mkdir()
    arguments = ["--features", str(root / "f.zarr"), "--device", "cpu", "--out", str(root / "p")]
    for name in ("runs/toy", "runs/toy/latest"):
        result = CliRunner().invoke(predict, [str(root / name), *arguments], catch_exceptions=False)
        assert f"{root / name}: run {runs / '1'}" in result.stderr
        assert "2 samples predicted" in result.stdout


def test_export_takes_the_newest_run_too(run):
    root, _ = run
    (root / "runs" / "toy").mkdir(parents=True)
    (root / "run").rename(root / "runs" / "toy" / "1")
    arguments = [str(root / "runs" / "toy"), "--out", str(root / "exported")]
    result = CliRunner().invoke(export, arguments, catch_exceptions=False)
    assert f"run {root / 'runs' / 'toy' / '1'}" in result.stderr
    assert (root / "exported" / "llm" / "config.json").exists()


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom train.predict_cli import predict\n"
        "try:\n    predict(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_task_options_can_differ_from_the_runs(run, monkeypatch):
    root, _ = run
    seen = {}
    monkeypatch.setattr(
        "train.predict.trained_run.load_task",
        lambda name, annotations, options: seen.update(options) or pytest.fail("loaded"),
    )
    with pytest.raises(pytest.fail.Exception, match="loaded"):
        call(root, "--out", str(root / "p.json"), "--option", "decoder=two_head", "--option", "k=2")
    assert seen == {"decoder": "two_head", "k": 2}


def test_an_option_without_a_value_is_refused(run):
    with pytest.raises(ConfigError, match="--option decoder: expected KEY=VALUE"):
        call(run[0], "--out", "p.json", "--option", "decoder")
