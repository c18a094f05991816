import json
import sys
import tracemalloc

import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from train.annotations.narrations import Narration, NarrationFiles, Narrations, read_captions


def entry(seconds, text):
    return {"timestamp_sec": seconds, "timestamp_frame": 0, "narration_text": text}


def video(first, second=()):
    passes = {"narration_pass_1": list(first), "narration_pass_2": list(second)}
    return {key: {"narrations": value, "summaries": []} for key, value in passes.items()}


VIDEOS = {
    "a": video([entry(4.5, "#C C sits"), entry(2, "#C C walks")], [entry(3.0, "#C C runs")]),
    "b": video([entry(1.0, "#C C waves"), entry(2.0, " ")]),
    "redacted": {"status": "redacted"},
}
SPLITS = {"train": ["a", "redacted"], "val": ["b"]}


def make(folder, videos=VIDEOS, splits=SPLITS):
    (folder / "narration.json").write_text(json.dumps(videos))
    (folder / "splits.json").write_text(json.dumps(splits))
    return NarrationFiles(folder)


def found(files, subset):
    return {
        video: [(one.narration_id, one.seconds, one.text) for one in narrations]
        for video, narrations in files.narrations(subset).items()
    }


def refused(folder, **parts):
    with pytest.raises(AnnotationError) as caught:
        make(folder, **parts).narrations("train")
    return str(caught.value)


def test_both_passes_are_read_in_the_order_of_time(tmp_path):
    expected = [("a:1:1", 2.0, "#C C walks"), ("a:2:0", 3.0, "#C C runs")]
    assert found(make(tmp_path), "train") == {"a": [*expected, ("a:1:0", 4.5, "#C C sits")]}


def test_videos_and_narrations_without_text_are_passed_over(tmp_path):
    assert found(make(tmp_path), "val") == {"b": [("b:1:0", 1.0, "#C C waves")]}
    assert make(tmp_path).references() == {"b:1:0": ["#C C waves"]}


def test_the_second_version_is_read(tmp_path):
    entries = [{"time": 2.5, "text": "#C C sits", "_annotation_uid": "x"}]
    videos = {"videos": {"a": {"narrations": entries}, "b": {"narrations": []}}}
    files = make(tmp_path, videos, {"train": ["a"], "val": ["b"]})
    assert found(files, "train") == {"a": [("a:1:0", 2.5, "#C C sits")]}
    with pytest.raises(AnnotationError, match="no 'val' video has a narration"):
        files.references()


def test_a_file_of_references_is_enough_to_score(tmp_path):
    path = tmp_path / "references.json"
    path.write_text('{"x": ["one", "two"]}')
    assert NarrationFiles(path).references() == {"x": ["one", "two"]}
    with pytest.raises(AnnotationError, match=r"can be scored against only.*splits\.json"):
        NarrationFiles(path).narrations("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "holds no reference"),
        ('{"x": []}', "id 'x' has no caption"),
        ('{"x": "one"}', "field 'x' is 'one'"),
        ('{"x": ["one"', "cut short"),
    ],
)
def test_wrong_references_are_refused(tmp_path, text, message):
    (tmp_path / "references.json").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        NarrationFiles(tmp_path / "references.json").references()


def test_wrong_splits_are_refused(tmp_path):
    unknown = refused(tmp_path, splits={"train": ["a", "bb"], "val": []})
    assert "splits.json: field 'train' names video 'bb', which is not in narration.json" in unknown
    shared = refused(tmp_path, splits={"train": ["a", "b"], "val": ["b"]})
    assert "video 'b' is in both 'train' and 'val'" in shared
    assert "field 'val' is missing" in refused(tmp_path, splits={"train": ["a"]})
    with pytest.raises(AnnotationError, match="Unknown subset 'test'"):
        make(tmp_path).narrations("test")


def test_wrong_narrations_are_refused(tmp_path):
    late = refused(tmp_path, videos={"a": video([entry("late", "x")])})
    assert "narration.json: record a.narration_pass_1.narrations.0" in late
    assert "field 'timestamp_sec' is 'late'" in late
    lacking = refused(tmp_path, videos={"a": video([{"timestamp_sec": 1.0}])})
    assert "field 'narration_text' is missing" in lacking
    (tmp_path / "narration.json").write_text('{"a": {"narration_pass_1"')
    with pytest.raises(AnnotationError, match="cut short"):
        NarrationFiles(tmp_path).narrations("val")
    with pytest.raises(AnnotationError, match=r"splits\.json: cannot be read"):
        NarrationFiles(tmp_path / "none").narrations("val")


def test_a_submission_comes_in_the_order_of_the_references(tmp_path):
    (tmp_path / "p.json").write_text('{"y": "two", "x": "one"}')
    assert list(read_captions(tmp_path / "p.json", {"x": [], "y": []}).items()) == [
        ("x", "one"),
        ("y", "two"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"x": "one"}', "1 of 2 narrations have no caption, the first is 'y'"),
        ('{"x": "one", "y": "two", "z": "three"}', "id 'z' is not in the annotations"),
        ('{"x": "one", "y": null}', "field 'y' is None"),
        ('{"x": NaN, "y": "two"}', "field 'x' is nan"),
        ('{"x": "one", ', "cut short"),
        ("", "cut short"),
    ],
)
def test_a_wrong_submission_is_refused(tmp_path, text, message):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_captions(tmp_path / "p.json", {"x": [], "y": []})


def test_wrong_narrations_of_the_second_version_are_refused(tmp_path):
    late = refused(tmp_path, videos={"videos": {"a": {"narrations": [{"time": "late"}]}}})
    assert "narration.json: record a.narrations.0, field 'time' is 'late'" in late
    assert "Expected `object`, got `array`" in refused(tmp_path, videos={"videos": []})
    assert "got list, expected a JSON object" in refused(tmp_path, videos=[VIDEOS])


def test_a_byte_order_mark_goes_away(tmp_path):
    make(tmp_path)
    path = tmp_path / "narration.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert list(found(NarrationFiles(tmp_path), "val")) == ["b"]


def test_narrations_of_one_instant_keep_their_order_and_their_ids():
    numbers = np.array([[1, 0], [1, 1], [2, 0]], np.int32)
    narrations = Narrations("v", [3.0, 1.0, 3.0], ["x", "y", "z"], numbers)
    assert [one.narration_id for one in narrations] == ["v:1:1", "v:1:0", "v:2:0"]
    assert narrations[-1] == Narration(narration_id="v:2:0", seconds=3.0, text="z")
    assert [one.text for one in narrations[1:]] == ["x", "z"]
    assert narrations.seconds_N.tolist() == [1.0, 3.0, 3.0]


def test_a_narration_takes_little_more_than_its_text(tmp_path):
    entries = [entry(float(second), f"#C C does {second}") for second in range(10_000)]
    files = make(tmp_path, {"a": video(entries), "b": video([])}, {"train": ["a"], "val": ["b"]})
    tracemalloc.start()
    try:
        narrations = files.narrations("train")["a"]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < sum(map(sys.getsizeof, narrations.texts)) + 10_000 * 32


def test_the_second_version_is_read_under_its_own_name(tmp_path):
    entries = [{"time": 2.5, "text": "#C C sits", "_annotation_uid": "x"}]
    videos = {
        "videos": {"a": {"narrations": entries}, "b": {"summaries": [], "status": "complete"}}
    }
    files = make(tmp_path, videos, {"train": ["a", "b"], "val": []})
    (tmp_path / "narration.json").rename(tmp_path / "all_narrations_redacted.json")
    assert found(files, "train") == {"a": [("a:1:0", 2.5, "#C C sits")]}
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["z"], "val": []}))
    with pytest.raises(
        AnnotationError, match=r"'z', which is not in all_narrations_redacted\.json"
    ):
        NarrationFiles(tmp_path).narrations("train")


def test_where_both_files_are_the_one_with_two_passes_counts(tmp_path):
    videos = {"videos": {"a": {"narrations": [{"time": 9.0, "text": "#C C sits"}]}}}
    (tmp_path / "all_narrations_redacted.json").write_text(json.dumps(videos))
    assert found(make(tmp_path), "val") == {"b": [("b:1:0", 1.0, "#C C waves")]}
