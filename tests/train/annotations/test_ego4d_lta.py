import json

import pytest

from cache_schema.errors import AnnotationError
from train.annotations.ego4d_lta import Ego4dLta, LtaAction, LtaClip


def entry(clip, index, start, end, verb=0, noun=0, **changed):
    return {
        "video_uid": f"video-{clip}",
        "clip_uid": clip,
        "clip_parent_start_sec": 10,
        "clip_parent_end_sec": 70.5,
        "action_clip_start_sec": start,
        "action_clip_end_sec": end,
        "action_idx": index,
        "verb_label": verb,
        "noun_label": noun,
        "verb": "unused",
        **changed,
    }


def write(folder, entries, subset="val"):
    document = {"version": "v2", "split": subset, "clips": entries}
    path = folder / f"fho_lta_{subset}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def folder(tmp_path):
    taxonomy = {"verbs": ["cut", "mix", "put"], "nouns": ["pan", "egg"]}
    (tmp_path / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    write(tmp_path, [entry("b", 2, 3.0, 4.5, 2, 1), entry("a", 0, 0, 1), entry("b", 0, 0.5, 3.5)])
    write(tmp_path, [entry("t", 0, 1, 2)], "train")
    return tmp_path


def refused(folder, entries):
    write(folder, entries)
    with pytest.raises(AnnotationError) as caught:
        Ego4dLta(folder).clips("val")
    return str(caught.value)


def test_entries_become_clips_with_actions_in_video_seconds_by_index(folder):
    first, second = Ego4dLta(folder).clips("val")
    assert first.clip_id == "a"
    assert second == LtaClip(
        clip_id="b",
        video_id="video-b",
        start_seconds=10.0,
        end_seconds=70.5,
        actions=(
            LtaAction(index=0, start_seconds=10.5, end_seconds=13.5, verb=0, noun=0),
            LtaAction(index=2, start_seconds=13.0, end_seconds=14.5, verb=2, noun=1),
        ),
    )


def test_the_validation_file_stands_for_its_folder(folder):
    path = (folder / "fho_lta_val.json").rename(folder / "other.json")
    source = Ego4dLta(path)
    assert [clip.clip_id for clip in source.clips("val")] == ["a", "b"]
    assert [clip.clip_id for clip in source.clips("train")] == ["t"]
    assert source.taxonomy().nouns == ("pan", "egg")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"verb_label": 3}, "field 'verb_label' is 3, expected an id of the 3 classes"),
        ({"noun_label": -1}, "field 'noun_label' is -1, expected an id of the 2 classes"),
        ({"action_idx": -1}, "field 'action_idx' is -1, expected at least 0"),
        ({"action_idx": 0}, "field 'action_idx' is 0, expected one not used above"),
        ({"action_clip_end_sec": 0.5}, "field 'action_clip_start_sec' is 1, expected 0 to 0.5"),
        ({"clip_parent_end_sec": 5}, "field 'clip_parent_start_sec' is 10.0, expected 0 to 5.0"),
        ({"video_uid": "other"}, "field 'video_uid' is 'other', expected 'video-a' as above"),
        ({"clip_parent_start_sec": 11}, "field 'clip_parent_start_sec' is 11.0, expected 10.0"),
    ],
)
def test_a_wrong_field_is_named_with_file_record_and_clip(folder, changed, message):
    found = refused(folder, [entry("a", 0, 0, 1), entry("a", 1, 1, 2) | changed])
    assert "fho_lta_val.json: record clips.1 (clip 'a'), " in found
    assert message.replace("is 1,", "is 1.0,") in found


def test_a_missing_field_and_a_wrong_type_are_named(folder):
    short = entry("a", 1, 1, 2)
    del short["verb_label"]
    assert "record clips.1, field 'verb_label' is missing" in refused(
        folder, [entry("a", 0, 0, 1), short]
    )
    assert "record clips.0, field 'noun_label' is '1'" in refused(
        folder, [entry("a", 0, 0, 1, noun="1")]
    )
    assert "record clips.0, field 'action_clip_end_sec' is None" in refused(
        folder, [entry("a", 0, 0, None)]
    )


def test_a_file_without_entries_or_cut_short_is_refused(folder):
    assert "'clips' is empty" in refused(folder, [])
    path = folder / "fho_lta_val.json"
    path.write_text(path.read_text()[:-3])
    with pytest.raises(AnnotationError, match=r"fho_lta_val\.json: .*cut short"):
        Ego4dLta(folder).clips("val")


def test_a_missing_file_folder_or_taxonomy_is_named(folder):
    (folder / "fho_lta_taxonomy.json").write_text('{"verbs": [], "nouns": ["pan"]}')
    with pytest.raises(AnnotationError, match=r"taxonomy\.json: field 'verbs' is empty"):
        Ego4dLta(folder).clips("val")
    (folder / "fho_lta_train.json").unlink()
    with pytest.raises(AnnotationError, match=r"fho_lta_train\.json: cannot be read"):
        Ego4dLta(folder).clips("train")
    with pytest.raises(AnnotationError, match="found nothing, expected a folder"):
        Ego4dLta(folder / "none")
    with pytest.raises(AnnotationError, match=r"test_unannotated\.json: cannot be read"):
        Ego4dLta(folder).clips("test")


def unlabelled(clip, index, start, end, **changed):
    """An entry of the test file, with the keys that both versions have."""
    known = entry(clip, index, start, end, clip_id=3, interval_start_sec=0.0, **changed)
    return {key: value for key, value in known.items() if key not in LABELS}


LABELS = ("verb", "verb_label", "noun_label")


def write_test(folder, entries):
    document = {"version": "v1", "split": "test", "clips": entries}
    (folder / "fho_lta_test_unannotated.json").write_text(json.dumps(document))


def test_actions_of_the_test_file_have_no_labels(folder):
    write_test(folder, [unlabelled("z", 1, 2.0, 3.0), unlabelled("z", 0, 0.5, 2.5)])
    for path in (folder, folder / "fho_lta_val.json"):
        (clip,) = Ego4dLta(path).clips("test")
        assert (clip.clip_id, clip.video_id) == ("z", "video-z")
        assert clip.actions == (
            LtaAction(index=0, start_seconds=10.5, end_seconds=12.5, verb=-1, noun=-1),
            LtaAction(index=1, start_seconds=12.0, end_seconds=13.0, verb=-1, noun=-1),
        )


def test_what_is_wrong_with_an_entry_of_the_test_file_is_said(folder):
    write_test(folder, [unlabelled("z", 0, 3.0, 2.0)])
    with pytest.raises(
        AnnotationError, match=r"'action_clip_start_sec' is 3\.0, expected 0 to 2\.0"
    ):
        Ego4dLta(folder).clips("test")
    with pytest.raises(AnnotationError, match="Unknown subset 'tests'"):
        Ego4dLta(folder).clips("tests")


@pytest.mark.parametrize(
    ("version", "more"),
    [("v1", {"clip_id": 12, "noun": "egg_(food)", "action_clip_start_frame": 3}), ("v2", {})],
)
def test_both_versions_of_the_dataset_are_read(folder, version, more):
    document = {
        "version": version,
        "date": "220101",
        "split": "val",
        "clips": [entry("b", 0, 1, 2) | more],
    }
    (folder / "fho_lta_val.json").write_text(json.dumps(document))
    (clip,) = Ego4dLta(folder).clips("val")
    assert [one.index for one in clip.actions] == [0]
