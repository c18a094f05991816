import pytest

from cache_schema.errors import AnnotationError
from tests.train.annotations.ego4d_files import (
    clip_entry,
    label,
    labelled_clip,
    queried_clip,
    query,
    write_clips,
)
from train.annotations.ego4d_clips import Clip, Ego4dMoments, Ego4dQueries, Moment


def moments_file(tmp_path, *labels, name="moments_val.json", **more):
    return write_clips(tmp_path / name, labelled_clip("c", *labels), **more)


def test_only_primary_labels_count_and_repetitions_stay(tmp_path):
    labels = label("cut", 1.0, 2.0), label("cut", 1.0, 2.0), label("eat", 0, 9, primary=False)
    (one,) = Ego4dMoments(moments_file(tmp_path, *labels)).clips("val")
    assert one.clip == Clip(clip_id="c", video_id="v", start_seconds=10.0, end_seconds=40.0)
    assert one.clip.duration_seconds == 30.0
    assert one.moments == (Moment(label="cut", start_seconds=1.0, end_seconds=2.0),) * 2


def test_labels_of_all_annotators_and_of_a_repeated_clip_are_joined(tmp_path):
    first = clip_entry("c", [{"labels": [label("a", 0, 1)]}, {"labels": [label("b", 1, 2)]}])
    second = clip_entry("c", [{"labels": [label("d", 2, 3)]}])
    (one,) = Ego4dMoments(write_clips(tmp_path / "moments_val.json", first, second)).clips("val")
    assert [moment.label for moment in one.moments] == ["a", "b", "d"]


def test_clips_without_labels_stay_and_videos_of_another_split_do_not(tmp_path):
    path = write_clips(tmp_path / "moments_val.json", clip_entry("c", []))
    assert [one.moments for one in Ego4dMoments(path).clips("val")] == [()]
    write_clips(path, clip_entry("c", []), split="train")
    assert Ego4dMoments(path).clips("val") == []


def test_the_training_file_lies_beside_the_validation_file(tmp_path):
    val = moments_file(tmp_path, label("a", 0, 1))
    moments_file(tmp_path, label("b", 0, 1), name="moments_train.json", split="train")
    for path in (val, tmp_path):
        reader = Ego4dMoments(path)
        assert [reader.clips(one)[0].moments[0].label for one in ("train", "val")] == ["b", "a"]


def test_queries_know_their_annotation_and_place_and_may_lack_text(tmp_path):
    clip = queried_clip("c", query("Where?"), query(None))
    first, second = Ego4dQueries(write_clips(tmp_path / "nlq_val.json", clip)).queries("val")
    assert (first.key, first.text) == (("c", "a", 0), "Where?")
    assert (first.start_seconds, first.end_seconds) == (1.0, 2.5)
    assert (second.key, second.text) == (("c", "a", 1), "")


def test_of_two_annotations_with_one_id_the_later_counts(tmp_path):
    annotations = [
        {"annotation_uid": "a", "language_queries": [query(text)]} for text in ("one?", "two?")
    ]
    path = write_clips(tmp_path / "nlq_val.json", clip_entry("c", annotations))
    assert [one.text for one in Ego4dQueries(path).queries("val")] == ["two?"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start_time": "1"}, r"0\.labels\.0, field 'start_time' is '1'"),
        ({"end_time": float("nan")}, r"field 'end_time' is nan: .* finite number"),
        ({"primary": None}, r"field 'primary' is None"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, wrong, message):
    path = moments_file(tmp_path, label("a", 0, 1) | wrong)
    with pytest.raises(AnnotationError, match=message) as caught:
        Ego4dMoments(path).clips("val")
    assert str(path) in str(caught.value)


def test_a_missing_field_is_named(tmp_path):
    path = write_clips(tmp_path / "nlq_val.json", clip_entry("c", [{"language_queries": []}]))
    with pytest.raises(AnnotationError, match="field 'annotation_uid' is missing"):
        Ego4dQueries(path).queries("val")


def test_a_clip_that_ends_before_it_starts_is_refused(tmp_path):
    path = write_clips(tmp_path / "nlq_val.json", clip_entry("c", [], start=5, end=5))
    with pytest.raises(AnnotationError, match=r"clip 'c': .* are 5\.0, 5\.0, expected 0 <= start"):
        Ego4dQueries(path).queries("val")


def test_a_clip_may_start_a_moment_before_its_video(tmp_path):
    path = write_clips(tmp_path / "nlq_val.json", queried_clip("c", query("Who?"), start=-0.04))
    (found,) = Ego4dQueries(path).queries("val")
    assert found.clip.start_seconds == -0.04
    write_clips(path, queried_clip("c", query("Who?"), start=-4.0))
    with pytest.raises(AnnotationError, match=r"are -4\.0, 40\.0, expected 0 <= start"):
        Ego4dQueries(path).queries("val")


def test_nothing_there_and_a_file_cut_short_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"expected a folder with nlq_train\.json"):
        Ego4dQueries(tmp_path / "none").queries("val")
    path = moments_file(tmp_path, label("a", 0, 1))
    path.write_text(path.read_text()[:-9])
    with pytest.raises(AnnotationError, match="Is the file cut short"):
        Ego4dMoments(tmp_path).clips("val")
    with pytest.raises(AnnotationError, match=r"moments_train\.json: cannot be read"):
        Ego4dMoments(tmp_path).clips("train")


def bare_clip(clip_id, annotations=None):
    """A clip as the test files have it; those of moments have no annotations at all."""
    clip = clip_entry(clip_id, annotations)
    if annotations is None:
        del clip["annotations"]
    return {**clip, "clip_start_sec": 0, "clip_end_sec": 30.0, "source_clip_uid": "s"}


def test_clips_of_the_test_file_have_no_moments(tmp_path):
    path = tmp_path / "moments_test_unannotated.json"
    write_clips(path, bare_clip("c"), bare_clip("d"), split="test")
    val = moments_file(tmp_path, label("a", 0, 1))
    for place in (tmp_path, val):
        found = Ego4dMoments(place).clips("test")
        assert [(one.clip.clip_id, one.moments) for one in found] == [("c", ()), ("d", ())]


def test_queries_of_the_test_file_have_no_answers(tmp_path):
    asked = [{"query": "Where?", "template": None, "slot_x": "pan"}, {"template": None}]
    annotation = {"annotation_uid": "a", "language_queries": asked}
    write_clips(tmp_path / "nlq_test_unannotated.json", bare_clip("c", [annotation]), split="test")
    first, second = Ego4dQueries(tmp_path).queries("test")
    assert (first.key, first.text) == (("c", "a", 0), "Where?")
    assert (second.key, second.text) == (("c", "a", 1), "")
    assert first.clip == Clip(clip_id="c", video_id="v", start_seconds=10.0, end_seconds=40.0)


def test_a_validation_file_must_have_what_the_test_file_lacks(tmp_path):
    write_clips(tmp_path / "moments_val.json", bare_clip("c"))
    with pytest.raises(AnnotationError, match="field 'annotations' is missing"):
        Ego4dMoments(tmp_path).clips("val")
    annotation = {"annotation_uid": "a", "language_queries": [{"query": "Where?"}]}
    write_clips(tmp_path / "nlq_val.json", bare_clip("c", [annotation]))
    with pytest.raises(AnnotationError, match="field 'clip_start_sec' is missing"):
        Ego4dQueries(tmp_path).queries("val")


def test_queries_without_text_come_as_null_or_not_at_all(tmp_path):
    """Version 1 writes null, version 2 also leaves the key out."""
    nameless = {key: value for key, value in query("x").items() if key != "query"}
    write_clips(tmp_path / "nlq_val.json", queried_clip("c", query(None), nameless, query("Who?")))
    assert [one.text for one in Ego4dQueries(tmp_path).queries("val")] == ["", "", "Who?"]
