import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from extract.store_page.labels import Labels, read_labels
from extract.store_page.row_map import map_rows
from extract.store_page.rows import look_at, plan_spans
from tests.extract.store_page.planted import open_stream


def mapped(tmp_path, videos, labels=None):
    stream = open_stream(tmp_path / "s.zarr", videos)
    looked = look_at(stream, plan_spans(stream, 0), 0, lambda count: None)
    return map_rows(stream, looked, labels)


def test_the_map_shows_the_two_directions_of_most_variance(tmp_path):
    random = np.random.default_rng(0)
    values = random.standard_normal((400, 8)) * [0.1, 5, 0.1, 0.1, 2, 0.1, 0.1, 0.1]
    found = mapped(tmp_path, {"a": values[:200], "b": values[200:]})
    xy = np.array([(point.x, point.y) for point in found.points])
    for column, dim in ((0, 1), (1, 4)):
        assert abs(np.corrcoef(xy[:, column], values[:, dim])[0, 1]) > 0.99
    variance = values.var(axis=0)
    expected = variance[[1, 4]] / variance.sum()
    assert found.shares == pytest.approx(tuple(expected), abs=0.01)


def test_points_know_their_video_second_and_place(tmp_path):
    found = mapped(tmp_path, {"k/a": np.eye(8)[:4], "k/b": np.eye(8)[:2]})
    assert [(point.video_id, point.seconds, point.share) for point in found.points] == [
        ("k/a", 0.25, 0.125), ("k/a", 0.75, 0.375), ("k/a", 1.25, 0.625), ("k/a", 1.75, 0.875),
        ("k/b", 0.25, 0.25), ("k/b", 0.75, 0.75),
    ]  # fmt: skip
    assert {point.group for point in found.points} == {"k/a", "k/b"}  # one folder tells nothing


def test_groups_are_top_folders_and_the_rare_ones_one(tmp_path):
    random = np.random.default_rng(0)
    videos = {f"f{k:02}/v": random.standard_normal((20 - k, 4)) for k in range(12)}
    groups = {point.video_id: point.group for point in mapped(tmp_path, videos).points}
    assert groups["f00/v"] == "f00"
    assert [name for name, group in groups.items() if group == "other"] == [
        "f09/v", "f10/v", "f11/v",
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [np.ones((1, 4)), np.ones((5, 4)), np.ones((5, 1))])
def test_without_variance_there_is_one_point(tmp_path, rows):
    found = mapped(tmp_path, {"a": rows})
    assert {(point.x, point.y) for point in found.points} == {(0.0, 0.0)}
    assert found.shares == (0.0, 0.0)


def test_labels_come_from_the_table_that_prediction_writes(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text(
        "video,task,kind,start,end,query,text,score,rank,step,seconds_ahead\n"
        "a,t,video,0.0,9.0,,,,,,\n"
        "a,t,segment,1.0,3.0,,stir,0.9,,,\n"
        "a,t,segment,2.0,4.0,,'=pour,0.9,,,\n"
        "a,t,next,5.0,6.0,,later,0.9,1,,\n"
        "a,t,now,6.0,7.0,,first,0.9,1,,\n"
        "a,t,now,6.0,7.0,,second,0.1,2,,\n"
    )
    labels = read_labels(path)
    found = [labels.at("a", second) for second in (0.5, 1.0, 2.5, 3.5, 4.0, 5.5, 6.5)]
    assert found == [None, "stir", "=pour", "=pour", None, None, "first"]
    assert labels.at("b", 1.0) is None


def test_points_have_the_label_of_their_middle(tmp_path):
    labels = Labels({"a": [(0.5, 1.0, "cut")]})
    points = mapped(tmp_path, {"a": np.eye(4)}, labels).points
    assert [point.label for point in points] == [None, "cut", None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,start\n", "has no column end, text"),
        ("", "has no column"),
        ("video,start,end,text\na,zero,1,x\n", "start and end are seconds"),
        (b"\xff\xfe\x00", "cannot be read as a table"),
    ],
)
def test_another_table_is_refused(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AnnotationError, match=message):
        read_labels(path)
