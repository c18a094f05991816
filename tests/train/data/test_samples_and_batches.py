import math

import numpy as np
import pytest
import torch

from cache_schema.errors import AnnotationError
from tests.train.toy import ToyTask, labels_of, make_features, make_store
from train.data.batches import BatchReader
from train.data.samples import count_stored_rows, find_rows, find_video
from train.data.windows import evaluation_windows
from train.task import IGNORED, Sample, Window

CPU = torch.device("cpu")


def ramp(num_rows, shape=(3,)):
    """Row r holds the value r everywhere."""
    return np.ones((num_rows, *shape), np.float32) * np.arange(num_rows).reshape(
        -1, *[1] * len(shape)
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    task = ToyTask()
    return task, make_features(tmp_path_factory.mktemp("store") / "f.zarr", task).stream()


def find(task, stream, subset="train", **options):
    return find_rows(task.samples(subset), stream, **{"allow_missing": 0, **options})


def test_samples_get_the_rows_that_overlap_them(toy):
    stream = toy[1]
    sample = Sample(video_id="a", start_seconds=2.2, end_seconds=4.0, target=None)
    found = find_rows([sample], stream, allow_missing=0).rows[0]
    assert (found.first_row, found.num_rows) == (4, 4)
    assert found.times_R2[0].tolist() == [2.0, 2.5]


def of_clip(video_id, clip_id, start, end):
    return Sample(
        video_id=video_id, start_seconds=start, end_seconds=end, target=None, clip_id=clip_id
    )


def test_rows_of_a_clip_alone_lie_where_the_clip_does_in_its_video(toy):
    """``b`` has 9 rows of half a second."""
    sample = of_clip("elsewhere", "b", 300.0, 304.5)
    (rows,) = find_rows([sample], toy[1], allow_missing=0).rows
    assert (rows.video_id, rows.first_row, rows.num_rows) == ("b", 0, 9)
    assert rows.times_R2[[0, -1]].tolist() == [[300.0, 300.5], [304.0, 304.5]]


def test_the_video_comes_before_the_clip(toy):
    (rows,) = find_rows([of_clip("a", "b", 2.0, 4.0)], toy[1], allow_missing=0).rows
    assert (rows.video_id, rows.first_row, rows.num_rows) == ("a", 4, 4)
    found = find_video(of_clip("a", "b", 2.0, 4.0), toy[1])
    assert (found.id, found.starts_at_seconds, found.is_clip_alone) == ("a", 0.0, False)
    assert find_video(of_clip("a", "a", 0.0, 4.0), toy[1]).is_clip_alone
    assert find_video(of_clip("x", "y", 0.0, 4.0), toy[1]) is None


def asking(query, video_id="a", end_seconds=4.0):
    return Sample(
        video_id=video_id, start_seconds=0.0, end_seconds=end_seconds, target=None, query=query
    )


def test_words_of_queries_are_counted(toy):
    samples = [asking(""), asking("where is  the cat?"), asking("the dog?")]
    found = find_rows(samples, toy[1], allow_missing=0, shares_rows=True).rows
    assert [rows.query_words for rows in found] == [6]
    alone = find_rows(samples, toy[1], allow_missing=0).rows
    assert [rows.query_words for rows in alone] == [0, 4, 2]


def test_queries_about_the_same_rows_share_them(toy):
    stretches = [("q0", "a", 4.0), ("q1", "b", 4.0), ("q2", "a", 4.0), ("q3", "a", 3.0)]
    samples = [asking(*one) for one in stretches]
    found = find_rows(samples, toy[1], allow_missing=0, shares_rows=True).rows
    assert [(rows.video_id, [one.query for one in rows.samples]) for rows in found] == [
        ("a", ["q0", "q2"]),
        ("b", ["q1"]),
        ("a", ["q3"]),
    ]


class TaskOfQueries(ToyTask):
    """The target is the number of letters of the query."""

    def targets(self, sample, times_R2, window):
        return {"letters": np.array([len(sample.query)])}


def test_a_batch_reads_rows_once_for_all_their_queries(toy):
    samples = [asking("q"), asking("who", "b"), asking("what"), asking("where")]
    rows = find_rows(samples, toy[1], allow_missing=0, shares_rows=True).rows
    reader = BatchReader(TaskOfQueries().targets, toy[1], rows, CPU)
    batch = reader.read([Window(sample=1, start=0, stop=2), Window(sample=0, start=1, stop=4)])
    assert batch.features_BTD.shape[:2] == (2, 3)
    assert batch.queries == ["who", "q", "what", "where"]
    assert batch.window_of_Q.tolist() == [0, 1, 1, 1]
    assert batch.targets["letters"].tolist() == [[3], [1], [4], [5]]


@pytest.mark.parametrize("rows_per_token", [1, 3])
def test_rows_that_several_samples_read_count_once(toy, rows_per_token):
    stretches = [("b", 1, 3), ("a", 0, 4), ("a", 2, 5), ("a", 3, 4), ("a", 10, 11), ("a", 5, 6)]
    samples = [
        Sample(video_id=name, start_seconds=start, end_seconds=end, target=None)
        for name, start, end in stretches
    ]
    found = find_rows(samples, toy[1], allow_missing=0, rows_per_token=rows_per_token).rows
    # Two rows per second: seconds 0 to 6 and 10 to 11 of a, 1 to 3 of b.
    assert count_stored_rows(found) == 2 * (6 + 1 + 2)


def test_a_name_below_a_folder_is_found(tmp_path):
    stream = make_store(tmp_path / "f.zarr", {"P01/cam/a": ramp(4)}).stream()
    assert find(ToyTask(train={"a": 4}), stream).rows[0].video_id == "P01/cam/a"


def test_missing_videos_are_named_and_refused(toy):
    task = ToyTask(train={"a": 40, "zz": 1, "yy": 1})
    with pytest.raises(AnnotationError, match=r"for 2 of 3 annotated videos \(zz, yy\); 1 may"):
        find(task, toy[1], allow_missing=1)


def test_allowed_missing_videos_are_reported(toy):
    found = find(ToyTask(train={"a": 40, "zz": 1}), toy[1], allow_missing=1)
    assert found.missing == ["zz"]
    assert [rows.video_id for rows in found.rows] == ["a"]


def test_a_sample_behind_the_end_of_its_video_counts_as_missing(toy):
    late = Sample(video_id="b", start_seconds=100.0, end_seconds=math.inf, target=None)
    with pytest.raises(AnnotationError, match="b"):
        find_rows([late], toy[1], allow_missing=0)


def test_no_sample_at_all_is_refused(toy):
    with pytest.raises(AnnotationError, match="the annotations name none"):
        find(ToyTask(train={}), toy[1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_batches_hold_the_stored_values_as_float32(tmp_path, dtype):
    stream = make_store(tmp_path / "f.zarr", {"a": ramp(9), "b": ramp(4)}, dtype=dtype).stream()
    rows = find(ToyTask(train={"a": 9, "b": 4}), stream).rows
    reader = BatchReader(ToyTask().targets, stream, rows, CPU)
    windows = [Window(sample=0, start=2, stop=7), Window(sample=1, start=1, stop=4)]
    batch = reader.read(windows)
    reader.read([Window(sample=0, start=0, stop=9)])  # the buffer is used again
    assert batch.features_BTD.dtype == torch.float32
    assert batch.features_BTD[..., 0].tolist() == [[2, 3, 4, 5, 6], [1, 2, 3, 0, 0]]
    assert batch.valid_BT.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert [rows.video_id for rows in batch.rows] == ["a", "b"]


def test_padding_and_context_have_no_target(toy):
    task, stream = toy
    rows = find(task, stream).rows
    windows = [Window(sample=0, start=4, stop=10, num_context=2), Window(sample=1, start=6, stop=9)]
    targets = BatchReader(ToyTask().targets, stream, rows, CPU).read(windows).targets["current"]
    assert targets[0].tolist() == [IGNORED] * 2 + labels_of("a", 41)[6:10].tolist()
    assert targets[1].tolist() == labels_of("b", 9)[6:9].tolist() + [IGNORED] * 3


class TaskOfSegments(ToyTask):
    """Targets that are no rows: as many segments as the window is rows long, less three."""

    def targets(self, sample, times_R2, window):
        count = window.num_rows - 3
        return {"labels": np.arange(count), "segments": np.ones((count, 2), np.float32)}


def test_targets_of_any_shape_are_padded_to_the_largest(toy):
    task, stream = TaskOfSegments(), toy[1]
    rows = find(task, stream).rows
    windows = [Window(sample=0, start=0, stop=5), Window(sample=1, start=0, stop=3)]
    targets = BatchReader(task.targets, stream, rows, CPU).read(windows).targets
    assert targets["labels"].tolist() == [[0, 1], [IGNORED, IGNORED]]
    assert targets["segments"].shape == (2, 2, 2)
    assert targets["segments"][1].isnan().all()


def test_a_window_of_context_alone_has_no_target(toy):
    task, stream = TaskOfSegments(), toy[1]
    rows = find(task, stream).rows
    window = Window(sample=0, start=0, stop=5, num_context=5)
    targets = BatchReader(task.targets, stream, rows, CPU).read([window]).targets
    assert targets["labels"].tolist() == [[IGNORED, IGNORED]]
    assert targets["segments"].isnan().all()


def test_several_stored_rows_become_one(tmp_path):
    stream = make_store(tmp_path / "f.zarr", {"a": ramp(9), "b": ramp(5)}).stream()
    samples = ToyTask(train={"a": 9, "b": 5}).samples("train")
    rows = find_rows(samples, stream, rows_per_token=2, allow_missing=0).rows
    assert rows[0].times_R2.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 4.5]]
    reader = BatchReader(ToyTask().targets, stream, rows, CPU)
    reader.read([Window(sample=0, start=0, stop=4)])  # leaves something in the buffer
    windows = [Window(sample=0, start=2, stop=5), Window(sample=1, start=1, stop=3)]
    batch = reader.read(windows)
    # Means of (4, 5), (6, 7) and the last row alone; of (2, 3) and the last row alone.
    assert batch.features_BTD[0, :, 0].tolist() == [4.5, 6.5, 8.0]
    assert batch.features_BTD[1, :2, 0].tolist() == [2.5, 4.0]
    assert batch.valid_BT.tolist() == [[True, True, True], [True, True, False]]


def test_grid_rows_keep_their_tokens(tmp_path):
    stream = make_store(tmp_path / "f.zarr", {"a": ramp(5, (2, 3))}).stream()
    rows = find(ToyTask(train={"a": 5}), stream).rows
    reader = BatchReader(ToyTask().targets, stream, rows, CPU)
    batch = reader.read([Window(sample=0, start=0, stop=5)])
    assert batch.features_BTD.shape == (1, 5, 2, 3)


def test_evaluation_windows_of_all_samples_read_every_row(toy):
    task, stream = toy
    rows = find(task, stream, "val").rows
    reader = BatchReader(ToyTask().targets, stream, rows, CPU)
    windows = evaluation_windows([one.num_rows for one in rows], 8, 3)
    counted = sum(int((reader.read([w]).targets["current"] != IGNORED).sum()) for w in windows)
    assert counted == 30 + 17
