"""``vllm-predict`` on video files: a toy task on features of the fake encoder, no LLM."""

import json
import shutil
import tempfile
from dataclasses import replace

import numpy as np
import pytest

from cache_schema.errors import (
    ConfigError,
    RecipeMismatchError,
    SourceError,
)
from cache_schema.store import create_store, open_store
from tests.extract.videos import constant_pts, write_video
from tests.train.predicting import answers, typed
from tests.train.runs import VIDEOS, make_config, make_trainer, make_video_run, use_toy_task
from train.config import LlmConfig
from train.predict.ensemble import mean_log_probabilities


@pytest.fixture(scope="module")
def trained_on_videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    with pytest.MonkeyPatch.context() as patch:
        use_toy_task(patch)
        make_video_run(root)
    return root


@pytest.fixture
def videos(trained_on_videos, tmp_path, monkeypatch):
    """A run and the videos that it was trained on, and one that nobody has labelled."""
    shutil.copytree(trained_on_videos, tmp_path, dirs_exist_ok=True)
    use_toy_task(monkeypatch)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_videos_are_answered_as_from_a_store_of_them(videos):
    stored = ["--features", videos / "f.zarr", "--out", videos / "stored.jsonl"]
    typed(videos / "run", *stored, "--scores", videos / "stored.npz")
    (videos / "f.zarr").rename(videos / "gone.zarr")
    result = typed(
        *(videos / "run", videos / "videos", "--out", videos / "made.jsonl"),
        *("--scores", videos / "made.npz"),
    )
    assert result.exit_code == 0
    assert "made.jsonl: 6 predicted" in result.stdout
    assert sorted(answers(videos / "made.jsonl")) == sorted(VIDEOS)
    for suffix in ("jsonl", "npz"):
        made, stored = ((videos / f"{name}.{suffix}").read_bytes() for name in ("made", "stored"))
        assert made == stored
    assert list((videos / "tmp").iterdir()) == []


def test_files_folders_and_lists_go_together(videos):
    (videos / "list.txt").write_text("videos/a.mp4\nvideos/b.mp4\n")
    where = videos / "videos"
    typed(videos / "run", where / "new", where / "c.mp4", "--out", videos / "a.jsonl")
    assert sorted(answers(videos / "a.jsonl")) == ["c", "x"]
    typed(videos / "run", videos / "list.txt", "--out", videos / "a.jsonl")
    assert sorted(answers(videos / "a.jsonl")) == ["videos/a", "videos/b"]
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        typed(videos / "run", videos / "nowhere", "--out", videos / "a.jsonl")


@pytest.mark.parametrize("store", ["kept.zarr", "kept.h5"])
def test_a_store_keeps_features_and_what_it_has_is_not_made_again(videos, store):
    command = [videos / "run", "--features", videos / store, "--out", videos / "a.jsonl"]
    first = typed(*command[:1], videos / "videos" / "new", *command[1:])
    assert "1 videos encoded, 0 were there, 0 cannot be used" in first.stderr
    assert open_store(videos / store).stream().video_ids == ["x"]
    again = typed(*command[:1], videos / "videos" / "new", *command[1:])
    assert "0 videos encoded, 1 were there, 0 cannot be used" in again.stderr
    assert list(answers(videos / "a.jsonl")) == ["x"]


def test_a_video_that_was_moved_is_answered_under_its_first_id(videos):
    kept = ["--features", videos / "kept.zarr", "--out", videos / "a.jsonl"]
    typed(videos / "run", videos / "videos" / "new", *kept)
    (videos / "videos" / "new" / "x.mp4").rename(videos / "moved.mp4")
    again = typed(videos / "run", videos / "moved.mp4", *kept)
    assert "0 videos encoded, 1 were there" in again.stderr
    assert list(answers(videos / "a.jsonl")) == ["x"]


def test_several_runs_decide_together_about_videos(videos):
    config = make_config(videos, llm=LlmConfig(name="none"), seed=1)
    make_trainer(config, videos / "two").train()
    runs, out = [videos / "run", videos / "two"], ["--out", videos / "made.jsonl"]
    made = typed(*runs, videos / "videos", *out, "--scores", videos / "made.npz")
    assert made.stderr.count("6 videos encoded") == 1
    for name, places in (("one", runs[:1]), ("two", runs[1:])):
        store = ["--features", videos / "f.zarr", "--out", videos / "a"]
        typed(*places, *store, "--scores", videos / f"{name}.npz")
    both, one, two = (np.load(videos / f"{name}.npz") for name in ("made", "one", "two"))
    expected = mean_log_probabilities([one["d/current"], two["d/current"]])
    np.testing.assert_array_equal(both["d/current"], expected)
    for file in (both, one, two):
        file.close()


def test_several_workers_make_the_same(videos):
    typed(videos / "run", videos / "videos", "--out", videos / "one.jsonl")
    two = typed(videos / "run", videos / "videos", "--out", videos / "two.jsonl", "--workers", 2)
    assert two.exit_code == 0
    assert (videos / "two.jsonl").read_bytes() == (videos / "one.jsonl").read_bytes()


def test_a_video_that_cannot_be_read_is_told_and_the_others_are_answered(videos):
    (videos / "videos" / "bad.mp4").write_text("no video")
    kept = ["--features", videos / "kept.zarr", "--out", videos / "a.jsonl"]
    for _ in range(2):  # the second time the ledger knows
        result = typed(videos / "run", videos / "videos", *kept, "--json")
        assert result.exit_code == 3
        report = json.loads(result.stdout)
        assert (report["num_predicted"], len(report["failures"])) == (6, 1)
        assert report["failures"][0]["video_id"] == "bad"
        assert sorted(answers(videos / "a.jsonl")) == sorted(VIDEOS)
    told = typed(videos / "run", videos / "videos", *kept)
    assert f"failed: bad ({videos}/videos/bad.mp4): " in told.stdout
    ledger = videos / "kept.zarr.failures.jsonl"
    assert json.loads(ledger.read_text().splitlines()[0])["video_id"] == "bad"


def test_where_no_video_can_be_read_each_is_told(videos):
    (videos / "bad.mp4").write_text("no video")
    result = typed(videos / "run", videos / "bad.mp4", "--out", videos / "a.jsonl", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["failures"][0]["video_id"] == "bad"
    assert (videos / "a.jsonl").read_text() == ""


def test_a_video_that_has_changed_is_not_answered_from_its_old_rows(videos):
    write_video(videos / "new.mp4", constant_pts(30))
    command = videos / "run", videos / "new.mp4", "--features", videos / "kept.zarr"
    assert typed(*command, "--out", videos / "a.jsonl").exit_code == 0
    write_video(videos / "new.mp4", constant_pts(75))
    result = typed(*command, "--out", videos / "a.jsonl")
    assert result.exit_code == 3
    assert "new" not in answers(videos / "a.jsonl")


def edit_recipe(run, change):
    """Change what a run's checkpoints say of how its features were made."""
    for path in run.glob("*/run.json"):
        content = json.loads(path.read_text())
        change(content["recipe"])
        path.write_text(json.dumps(content))


def test_an_encoder_that_cannot_be_found_is_named(videos):
    edit_recipe(videos / "run", lambda recipe: recipe["encoder"].update(id="my-finetuned"))
    for path in (videos / "run").glob("*/run.json"):  # of before sources were noted
        content = json.loads(path.read_text())
        del content["encoder_source"]
        path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"'my-finetuned'.* --encoder"):
        typed(videos / "run", videos / "videos", "--out", videos / "a.jsonl")


def test_an_encoder_that_makes_other_rows_is_refused(videos):
    edit_recipe(videos / "run", lambda recipe: recipe["encoder"].update(weights_sha256="0" * 64))
    with pytest.raises(RecipeMismatchError, match=r"cannot be made again here: encoder\.weights"):
        typed(videos / "run", videos / "videos", "--out", videos / "a.jsonl")


def test_another_version_of_the_decoder_will_do_also_beside_rows_of_the_old_one(videos):
    edit_recipe(videos / "run", lambda recipe: recipe["decoder"].update(version="older"))
    plain = typed(videos / "run", videos / "videos" / "new", "--out", videos / "a.jsonl")
    assert (plain.exit_code, list(answers(videos / "a.jsonl"))) == (0, ["x"])


def test_new_videos_go_beside_features_that_an_older_decoder_made(videos):
    new = open_store(videos / "f.zarr").stream()
    old = replace(new.recipe, decoder=replace(new.recipe.decoder, version="older"))
    with create_store(videos / "old.zarr") as writer:
        stream = writer.stream("fake", old, new.row_shape)
        stream.append(new.read("a").values)
        stream.commit(new.commit("a").video, new.times("a"))
    edit_recipe(videos / "run", lambda recipe: recipe["decoder"].update(version="older"))
    kept = ["--features", videos / "old.zarr", "--out", videos / "a.jsonl"]
    typed(videos / "run", videos / "videos" / "new", *kept)
    assert list(answers(videos / "a.jsonl")) == ["x"]


def test_videos_are_named_by_place_or_by_id_not_both(videos):
    with pytest.raises(ConfigError, match="--videos names videos of a store"):
        typed(videos / "run", videos / "videos", "--videos", "a", "--out", videos / "a.jsonl")
