"""A trained run from Python: a store, rows in memory, video files, live frames."""

import itertools
import logging
import multiprocessing
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction

import numpy as np
import psutil
import pytest
import torch

from cache_schema.errors import (
    CheckpointError,
    ConfigError,
    RecipeMismatchError,
    StoreError,
    StoreNotFoundError,
)
from cache_schema.store import open_store
from tests.extract.videos import constant_pts, naive_frames, numbered_frame, write_video
from tests.train.runs import make_config, make_trainer, make_video_run, use_toy_task
from tests.train.streamed_runs import make_run, make_videos
from tests.train.toy import ToyTask, make_features, recipe, times
from train.config import LlmConfig
from train.predict.answering import Answered
from train.predict.from_videos import MadeFeatures
from train.predict.load_run import load_run


@pytest.fixture
def root(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    make_trainer(make_config(tmp_path, llm=LlmConfig(name="none")), tmp_path / "run").train()
    return tmp_path


@pytest.fixture
def run(root):
    return load_run(root / "run", device="cpu")


def test_a_run_says_what_it_has_learned(run):
    assert run.task == "toy"
    assert run.labels == {"current": ["class 0", "class 1", "class 2"]}
    assert run.recipe == recipe()


def test_a_store_its_path_and_its_stream_are_answered_alike(root, run):
    store = open_store(root / "f.zarr")
    answers = list(run.predict(root / "f.zarr"))
    assert sorted(one.video for one in answers) == ["a", "b", "c", "d", "e"]
    assert list(run.predict(str(root / "f.zarr"))) == answers
    assert list(run.predict(store)) == list(run.predict(store.stream())) == answers


def test_some_videos_of_a_store(root, run):
    assert [one.video for one in run.predict(root / "f.zarr", ["e", "d"])] == ["d", "e"]
    with pytest.raises(StoreError, match="no video 'zz'"):
        list(run.predict(root / "f.zarr", ["zz"]))


def test_a_video_of_a_store_may_be_named_by_the_last_part_of_its_id(root, run):
    make_features(root / "folders.zarr", ToyTask(train={"kitchen/a": 20}, val={"hall/d": 30}))
    assert [one.video for one in run.predict(root / "folders.zarr", ["d"])] == ["hall/d"]


def test_a_video_in_the_place_of_a_store_is_sent_to_predict_videos(root, run):
    (root / "b.webm").touch()
    (root / "videos").mkdir()
    for name in ("b.webm", "videos"):
        with pytest.raises(StoreNotFoundError, match=f"{name}: is no .* ask predict_videos"):
            next(run.predict(root / name))
    with pytest.raises(StoreNotFoundError, match="no such store"):
        next(run.predict(root / "gone.zarr"))


@pytest.mark.parametrize("videos", ["d", iter(["d"]), ("d",)])
def test_videos_are_one_id_or_any_iterable(root, run, videos):
    assert [one.video for one in run.predict(root / "f.zarr", videos)] == ["d"]


def test_rows_in_memory_are_answered_as_in_the_store(root, run):
    rows = open_store(root / "f.zarr").stream().read("d")
    (stored,) = run.predict(root / "f.zarr", ["d"])
    assert run.predict_rows(rows.float32, rows.times_R2, video="d") == stored
    assert run.predict_rows(rows.values, rows.times_R2).video == "video"


def test_rows_that_the_run_cannot_read_are_refused(run):
    with pytest.raises(RecipeMismatchError, match=r"rows of shape \(7,\), .* \(6,\)"):
        run.predict_rows(np.ones((4, 7)), times(4))
    with pytest.raises(StoreError, match=r"times have shape \(3, 2\), expected \(4, 2\)"):
        run.predict_rows(np.ones((4, 6)), times(3))


@pytest.mark.parametrize("factor", [0.5, 1.2, 1000])
def test_rows_of_another_rate_are_refused(run, factor):
    with pytest.raises(RecipeMismatchError, match=r"rows are \S+ s apart, .* trained on 0.5 s"):
        run.predict_rows(np.ones((4, 6)), times(4) * factor)
    run.predict_rows(np.ones((2, 6)), times(2) * factor)  # too few to tell


@pytest.mark.parametrize("kind", [torch.tensor, np.ndarray.tolist])
def test_rows_may_be_a_tensor_or_a_list(root, run, kind):
    rows = open_store(root / "f.zarr").stream().read("d")
    expected = run.predict_rows(rows.float32, rows.times_R2)
    assert run.predict_rows(kind(rows.float32), kind(rows.times_R2)) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(4, 6, requires_grad=True), r"values is no array \(.*\)\. Give NumPy's"),
        (torch.ones(4, 6, dtype=torch.bfloat16), "values is no array"),
        ([[1.0] * 6, [1.0]], "values is no array"),
        ([["a"] * 6] * 4, "expected an array of floating point numbers"),
    ],
)
def test_rows_that_are_no_array_are_refused(run, values, message):
    with pytest.raises(StoreError, match=message):
        run.predict_rows(values, times(4))


def test_a_name_that_is_no_text_is_refused(run):
    with pytest.raises(StoreError, match="video is 5, expected its name as text"):
        run.predict_rows(np.ones((4, 6)), times(4), video=5)


def test_features_of_another_recipe_are_refused_as_store_and_as_stream(root, run):
    store = make_features(root / "other.zarr", ToyTask(), encoder="other")
    for features in (store, store.stream()):
        with pytest.raises(RecipeMismatchError, match=r"encoder\.id = other, not toy"):
            list(run.predict(features))


def test_queries_are_refused_where_the_task_has_none(root, run):
    with pytest.raises(ConfigError, match="toy has no queries"):
        list(run.predict(root / "f.zarr", queries=["who?"]))


@pytest.mark.parametrize("kind", ["store", "rows", "videos"])
def test_queries_are_one_text_or_any_iterable(root, run, monkeypatch, kind):
    asked = []
    monkeypatch.setattr(
        "train.predict.load_run.answer_videos",
        lambda runs, streams, ids, queries: (
            asked.append(queries) or [Answered(answer="said", outputs=())]
        ),
    )
    monkeypatch.setattr(
        "train.predict.from_videos.features_of",
        lambda *_, **__: nullcontext(MadeFeatures(streams=[], video_ids=[], failures=[])),
    )
    ask = {
        "store": lambda queries: list(run.predict(root / "f.zarr", queries=queries)),
        "rows": lambda queries: run.predict_rows(np.ones((4, 6)), times(4), queries=queries),
        "videos": lambda queries: list(run.predict_videos("a.mp4", queries=queries)),
    }[kind]
    for queries in ("where?", iter(["where?"]), ("where?",)):
        ask(queries)
    assert asked == [["where?"]] * 3


def test_runs_decide_together_and_a_folder_of_runs_is_its_newest(root):
    config = make_config(root, llm=LlmConfig(name="none"), seed=1)
    make_trainer(config, root / "runs" / "2").train()
    (root / "run").rename(root / "runs" / "1")
    one, two = (load_run(root / "runs" / name, device="cpu") for name in "12")
    newest = load_run(root / "runs", device="cpu")
    assert list(newest.predict(root / "f.zarr")) == list(two.predict(root / "f.zarr"))
    both = load_run(root / "runs" / "1", root / "runs" / "2", device="cpu")
    assert [answer.video for answer in both.predict(root / "f.zarr")] == [
        answer.video for answer in one.predict(root / "f.zarr")
    ]


def test_no_run_and_no_device_are_refused(root):
    with pytest.raises(ConfigError, match=r"no run is named\. Give the folder of one"):
        load_run(device="cpu")
    with pytest.raises(ConfigError, match=r"device 'gpu': expected auto, cpu or cuda\."):
        load_run(root / "run", device="gpu")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no whole checkpoint here"):
        load_run(tmp_path, device="cpu")


def test_a_run_on_imported_features_cannot_make_them_of_videos(tmp_path, run):
    write_video(tmp_path / "v.mp4", constant_pts(30))
    with pytest.raises(CheckpointError, match=r"trained on imported features \('toy'\)"):
        list(run.predict_videos(tmp_path / "v.mp4"))


def test_video_files_are_answered_and_bad_ones_named_in_the_log(tmp_path, monkeypatch, caplog):
    use_toy_task(monkeypatch)
    run = load_run(make_video_run(tmp_path), device="cpu")
    stored = list(run.predict(tmp_path / "f.zarr"))
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    with caplog.at_level(logging.WARNING, logger="train"):
        answers = list(run.predict_videos(tmp_path / "videos"))
    assert answers == stored
    (said,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert said.startswith(f"bad ({tmp_path}/videos/bad.mp4): ")
    failures = []
    assert list(run.predict_videos(tmp_path / "videos" / "bad.mp4", failures=failures)) == []
    assert [one.video_id for one in failures] == ["bad"]


def test_a_store_keeps_the_features_of_videos(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    run = load_run(make_video_run(tmp_path), device="cpu")
    first = list(run.predict_videos([tmp_path / "videos" / "a.mp4"], features=tmp_path / "k.zarr"))
    assert open_store(tmp_path / "k.zarr").stream().video_ids == ["a"]
    assert list(run.predict(tmp_path / "k.zarr")) == first


@pytest.fixture(scope="module")
def streamable(tmp_path_factory):
    """A run that detects actions and a video, below a folder."""
    root = tmp_path_factory.mktemp("streamable")
    make_videos(root)
    make_run(root, root / "run", "online_action_detection")
    return root


def without_latency(rows):
    return [replace(one, video="", latency_ms=0.0) for one in rows]


def test_frames_of_a_program_are_answered_as_those_of_a_file(streamable):
    run = load_run(streamable / "run", device="cpu")
    expected = without_latency(run.stream(streamable / "x.mkv"))
    assert len(expected) == 34
    assert len({one.now[0].probability for one in expected}) > 10
    frames = naive_frames(streamable / "x.mkv", Fraction(4))
    rows = list(run.stream(frames))
    assert {one.video for one in rows} == {"frames"}
    assert without_latency(rows) == expected
    pairs = ((number / 4, frame) for number, frame in enumerate(frames))
    assert without_latency(run.stream(pairs)) == expected


@pytest.mark.parametrize("has_times", [False, True])
def test_a_row_is_out_before_the_next_frame_is_asked_for(streamable, has_times):
    asked = []

    def frames():
        for number in itertools.count():
            asked.append(number)
            frame = numbered_frame(number % 256)
            yield (number / 4, frame) if has_times else frame

    rows = load_run(streamable / "run", device="cpu").stream(frames())
    assert asked == []
    for number in range(10):
        assert next(rows).end == (number + 1) / 4
        # With times, the next frame says until when a frame is shown.
        assert asked == list(range(number + 1 + has_times))
    rows.close()


def test_what_cannot_be_streamed_is_refused(streamable, run):
    with pytest.raises(CheckpointError, match=r"trained on imported features \('toy'\)"):
        next(run.stream([]))
    both = load_run(streamable / "run", streamable / "run", device="cpu")
    with pytest.raises(ConfigError, match="answered by one run"):
        next(both.stream(streamable / "x.mkv"))


def _held_by_a_stream(run, sender):
    """Send the process's memory in MB at each of 3000 frames."""
    frames = (np.full((32, 32, 3), number % 256, np.uint8) for number in itertools.count())
    rows = load_run(run, device="cpu").stream(frames)
    process = psutil.Process()
    held = []
    for _ in range(3000):
        held.append(process.memory_info().rss / 2**20)
        last = next(rows)
    rows.close()
    sender.send((last.end, held))


@pytest.mark.long
def test_memory_is_flat_however_long_a_stream_lasts(streamable):
    # In a process of its own: what other tests left behind grows and shrinks when it likes.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_held_by_a_stream, args=(streamable / "run", sender))
    child.start()
    sender.close()
    end, held = receiver.recv()
    child.join()
    assert end == 750.0
    # The frames alone would be 7 MB.
    assert max(held[750:]) - max(held[:750]) < 2
