import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from cache_schema.errors import (
    AnnotationError,
    CheckpointError,
    ConfigError,
    RecipeMismatchError,
    StoreError,
)
from cache_schema.store import open_store
from tests.extract.videos import constant_pts, write_video
from tests.train.predicting import answers, typed
from tests.train.runs import make_config, make_trainer, use_toy_task
from tests.train.toy import ToyTask, make_features
from train.export_cli import export


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What ``run`` copies: training takes a second."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        use_toy_task(patch)
        trainer = make_trainer(make_config(root), root / "run")
        trainer.train()
        trainer.score_best()
    return root


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path, use_toy_task(monkeypatch)


def call(root, *more):
    """Ask for an annotated subset."""
    return typed(root / "run", "--features", root / "f.zarr", "--subset", "val", *more)


def test_the_submission_is_that_of_the_best_checkpoint(run):
    root, _ = run
    result = call(root, "--out", root / "new" / "submission.json")
    written = (root / "new" / "submission.json").read_text()
    assert json.loads(written) == json.loads(
        (root / "run" / "predictions" / "val" / "toy.json").read_text()
    )
    assert "2 predicted, 0 videos missing" in result.stdout
    assert result.exit_code == 0


def test_missing_videos_are_refused_unless_allowed(run):
    root, toy = run
    toy.val["zz"] = 4
    with pytest.raises(AnnotationError, match="zz"):
        call(root, "--out", root / "p.json")
    assert "1 videos missing" in call(root, "--out", root / "p.json", "--allow-missing", 1).stdout


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no whole checkpoint here"):
        call(tmp_path, "--out", tmp_path / "p.json")


def test_a_folder_of_runs_gives_its_newest_one_and_says_so_once(run):
    root, _ = run
    runs = root / "runs" / "toy"
    runs.mkdir(parents=True)
    (root / "run").rename(runs / "1")
    (runs / "2").mkdir()
    for name in ("runs/toy", "runs/toy/latest"):
        for out, more in (("a.jsonl", []), ("p.json", ["--subset", "val"])):
            result = typed(root / name, "--features", root / "f.zarr", "--out", root / out, *more)
            assert result.stderr.count(f"{root / name}: run {runs / '1'}") == 1
            assert " predicted, " in result.stdout


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
        call(root, "--out", root / "p.json", "--option", "decoder=two_head", "--option", "k=2")
    assert seen == {"decoder": "two_head", "k": 2}


def test_an_option_without_a_value_is_refused(run):
    with pytest.raises(ConfigError, match="--option decoder: expected KEY=VALUE"):
        call(run[0], "--out", "p.json", "--option", "decoder")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--videos", "d"], "--subset val takes videos and queries from the annotations"),
        (["--query", "who?"], "--subset val takes videos and queries from the annotations"),
        (["--scores", "s.npz"], "--scores is for whole videos"),
        (["--format", "csv"], "--format is for answers; a submission has the official format"),
    ],
)
def test_a_subset_is_a_whole_one(run, more, message):
    with pytest.raises(ConfigError, match=message):
        call(run[0], "--out", "p.json", *more)


def test_a_subset_needs_a_store_and_a_place(run):
    with pytest.raises(ConfigError, match="--subset needs --out"):
        call(run[0])
    with pytest.raises(ConfigError, match="--subset needs --features"):
        typed(run[0] / "run", "--subset", "val", "--out", "p.json")


def test_all_videos_of_a_store_are_answered_without_annotations(run, monkeypatch):
    root, _ = run
    monkeypatch.setattr(
        "train.predict.trained_run.load_task", lambda *_: pytest.fail("annotations were read")
    )
    result = typed(root / "run", "--features", root / "f.zarr", "--out", root / "a.jsonl")
    assert result.exit_code == 0
    assert "a.jsonl: 5 predicted" in result.stdout
    found = answers(root / "a.jsonl")
    assert sorted(found) == ["a", "b", "c", "d", "e"]
    assert found["d"]["duration"] == 15.0
    assert found["d"]["segments"][0]["start"] == 0.0


def test_named_videos_of_a_store_also_by_the_last_part_of_their_id(run):
    root, _ = run
    task = ToyTask(train={"kitchen/a": 20}, val={"hall/d": 30, "e": 10})
    make_features(root / "folders.zarr", task)
    options = ["--features", root / "folders.zarr", "--out", root / "a.jsonl"]
    typed(root / "run", *options, "--videos", "d", "--videos", "kitchen/a")
    assert sorted(answers(root / "a.jsonl")) == ["hall/d", "kitchen/a"]
    with pytest.raises(StoreError, match="no video 'zz' among 3"):
        typed(root / "run", *options, "--videos", "zz")


def test_a_place_named_csv_gets_a_table(run):
    root, _ = run
    typed(root / "run", "--features", root / "f.zarr", "--out", root / "a.csv")
    assert (root / "a.csv").read_text().startswith("video,task,kind,")


@pytest.mark.parametrize("out", [[], ["--out", "-"]])
def test_standard_output_holds_the_answers_alone(run, out):
    root, _ = run
    result = typed(root / "run", "--features", root / "f.zarr", "--json", *out)
    assert {json.loads(line)["video"] for line in result.stdout.splitlines()} == set("abcde")
    assert json.loads(result.stderr.splitlines()[-1])["num_predicted"] == 5


def test_scores_are_what_the_head_said(run):
    root, _ = run
    store = ["--features", root / "f.zarr"]
    typed(root / "run", *store, "--out", root / "a.jsonl", "--scores", root / "s.npz")
    with np.load(root / "s.npz", allow_pickle=False) as scores:
        assert sorted(scores.files) == [f"{v}/{n}" for v in "abcde" for n in ("current", "times")]
        assert scores["d/current"].shape == (30, 3)
        np.testing.assert_array_equal(
            scores["d/times"], open_store(root / "f.zarr").stream().times("d")
        )
        first = answers(root / "a.jsonl")["d"]["segments"][0]
        assert first["label"] == f"class {scores['d/current'][0].argmax()}"


def test_a_store_of_another_recipe_is_refused(run):
    root, _ = run
    make_features(root / "other.zarr", ToyTask(), encoder="other")
    with pytest.raises(RecipeMismatchError, match=r"encoder\.id = other, not toy"):
        typed(root / "run", "--features", root / "other.zarr", "--out", root / "a.jsonl")
    assert not (root / "a.jsonl").exists()


def test_a_stream_can_be_named(run):
    root, _ = run
    options = ["--features", root / "f.zarr", "--out", root / "a.jsonl", "--features-stream"]
    assert typed(root / "run", *options, "toy").exit_code == 0
    with pytest.raises(ConfigError, match="no stream 'clip'; it holds: toy"):
        typed(root / "run", *options, "clip")


def test_an_old_checkpoint_says_what_to_do(run):
    root, _ = run
    for path in (root / "run").glob("*/knowledge.json"):
        path.unlink()
    for more in ([], ["--subset", "val"]):
        with pytest.raises(CheckpointError, match="was written by an earlier version"):
            typed(root / "run", "--features", root / "f.zarr", "--out", root / "a", *more)


def test_a_video_before_the_run_is_told_from_one(run):
    root, _ = run
    (root / "b.webm").touch()
    (root / "videos").mkdir()
    for first, others, expected in (
        ("b.webm", ["run"], "{0}/b.webm: is no run. RUN comes first: vllm-predict {0}/run {0}/b."),
        ("videos", ["run"], "{0}/videos: is no run. RUN comes first: vllm-predict {0}/run {0}/v"),
        ("b.webm", [], "{0}/b.webm: is no run. RUN comes first: vllm-predict RUN {0}/b.webm."),
    ):
        with pytest.raises(ConfigError, match="RUN comes first") as caught:
            typed(root / first, *(root / other for other in others), "--out", root / "a.jsonl")
        assert str(caught.value).startswith(expected.format(root))


def test_neither_videos_nor_a_store(run):
    with pytest.raises(ConfigError, match="Nothing to predict: give videos, a store"):
        typed(run[0] / "run", "--out", "a.jsonl")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--annotations", "a"], "--annotations is for --subset, .*and for --html"),
        (["--allow-missing", 1], "--allow-missing is for --subset"),
        (["--encoder", "fake"], "--encoder and --workers are for video files"),
        (["--workers", 2], "--encoder and --workers are for video files"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(run, more, message):
    root, _ = run
    with pytest.raises(ConfigError, match=message):
        typed(root / "run", "--features", root / "f.zarr", "--out", root / "a.jsonl", *more)


def test_a_query_for_a_task_without_is_refused(run):
    root, _ = run
    with pytest.raises(ConfigError, match="toy has no queries; leave --query out"):
        typed(root / "run", "--features", root / "f.zarr", "--out", "a", "--query", "who?")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "holds no query, expected one a line"), (b"\xff\xfe", "cannot be read"),
     (None, "cannot be read")],
)  # fmt: skip
def test_a_file_of_queries_must_hold_some(tmp_path, content, message):
    if content is not None:
        (tmp_path / "q.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"q\.txt: {message}"):
        typed("run", "v.mp4", "--out", "a", "--queries", tmp_path / "q.txt")


def test_a_format_that_is_not_known_costs_no_prediction(run, monkeypatch):
    root, _ = run
    monkeypatch.setattr("train.predict.command.features_of", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(ConfigError, match="Unknown format 'jsonn'"):
        typed(root / "run", root, "--out", root / "a", "--format", "jsonn")


def test_imported_features_cannot_be_made_of_videos(run):
    root, _ = run
    write_video(root / "v.mp4", constant_pts(20))
    with pytest.raises(CheckpointError, match=r"imported features \('toy'\); nothing says how"):
        typed(root / "run", root / "v.mp4", "--out", root / "a.jsonl")
