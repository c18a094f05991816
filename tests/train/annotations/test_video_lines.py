"""Our own annotation format: errors, and the same samples as from official files."""

import json
from fractions import Fraction

import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from train.annotations.opening import (
    open_actions,
    open_future_actions,
    open_highlights,
    open_labels,
    open_moments,
    open_narrations,
    open_queries,
)
from train.annotations.own_labels import OwnLabels, is_own_labels
from train.annotations.qvhighlights import QVHighlightsFiles
from train.annotations.video_sources import VideoHighlights

TRAIN = {
    "video": "kitchen/a",
    "subset": "train",
    "duration": 4.0,
    "actions": [
        {"start": 2.0, "end": 3.5, "verb": "stir", "noun": "soup"},
        {"start": 0.5, "end": 2.5, "verb": "cut", "noun": "egg"},
    ],
}
VAL = {
    "video": "b",
    "subset": "val",
    "duration": 2,
    "actions": [{"start": 0, "end": 1.0, "verb": "stir", "noun": "egg"}],
    "moments": [{"start": 0.5, "end": 1.5, "label": "cooking"}],
    "queries": [{"query": "where is it", "start": 1.0, "end": 1.0}],
    "captions": [{"time": 1.5, "text": "late"}, {"time": 0.5, "text": "early"}],
    "highlights": [{"query": "steam", "saliency": [0, 3, [1, 2, 4], 0, 2]}],
}


def save(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "own.jsonl", TRAIN, VAL)


def test_our_format_is_told_from_official_files(tmp_path, path):
    official = save(tmp_path / "highlight_val.jsonl", {"qid": 1, "vid": "a", "query": "q"})
    (tmp_path / "folder.jsonl").mkdir()
    assert is_own_labels(path)
    assert not any(map(is_own_labels, [tmp_path, tmp_path / "folder.jsonl", tmp_path / "a.json"]))
    assert isinstance(open_highlights(official), QVHighlightsFiles)
    assert isinstance(open_highlights(path), VideoHighlights)


SUBSETS = {
    "labels": lambda path: open_labels(path, Fraction(2)).videos("train", 1),
    "actions": lambda path: open_actions(path).actions("train"),
    "future actions": lambda path: open_future_actions(path).clips("train"),
    "moments": lambda path: open_moments(path).clips("train"),
    "queries": lambda path: open_queries(path).queries("train"),
    "narrations": lambda path: open_narrations(path).narrations("train"),
    "highlights": lambda path: open_highlights(path).queries("train"),
}
WHOLE = json.dumps(TRAIN).encode()


@pytest.mark.parametrize("kind", SUBSETS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:20], r"own\.jsonl, line 1: Invalid JSON: .*cut short\?"),
        (b"video,start\n", r"own\.jsonl, line 1: Invalid JSON: "),
        (b"[1]\n", r"own\.jsonl, line 1: "),
        (WHOLE + b"\n" + WHOLE[:20], r"own\.jsonl, line 2: Invalid JSON: .*cut short\?"),
        (WHOLE + b'\n{"video": "\xff"}\n', r"own\.jsonl: byte \d+ is not UTF-8 \(line 2\)"),
        (b"\xff\xfe{\0", r"own\.jsonl: byte 0 is not UTF-8 \(line 1\)"),
        (b"", r"own\.jsonl: the file is empty"),
        (None, r"own\.jsonl: cannot be read \(No such file"),
    ],
)
def test_a_damaged_file_is_told_by_line_and_reason(tmp_path, kind, content, message):
    path = tmp_path / "own.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        SUBSETS[kind](path)


def test_frames_get_the_action_that_started_last(path):
    labels = open_labels(path, Fraction(2))
    assert labels.class_names == ("background", "cut_egg", "stir_egg", "stir_soup")
    assert labels.videos("train", 1) == ["kitchen/a"]
    # Middles at 0.25, 0.75, ... 3.75 s; from 2.0 on both actions last, the second is newer.
    assert labels.labels("kitchen/a").tolist() == [0, 1, 1, 1, 3, 3, 3, 0]


def test_verbs_and_nouns_are_numbered_by_name(path):
    actions = open_actions(path)
    assert actions.action_classes() == [(0, 0), (1, 0), (1, 1)]
    first, second = actions.actions("train")
    assert (first.start_seconds, first.verb_noun, first.narration_id) == (
        0.5,
        (0, 0),
        "kitchen/a:1",
    )
    assert second.verb_noun == (1, 1)
    assert actions.validation_cells(4) == {"b": 8}
    assert (actions.count_verbs(), actions.count_nouns()) == (2, 2)
    assert actions.action_names() == ["cut egg", "stir egg", "stir soup"]


def test_future_actions_are_ranked_by_start(path):
    (clip,) = open_future_actions(path).clips("train")
    assert (clip.clip_id, clip.end_seconds) == ("kitchen/a", 4.0)
    assert [(one.index, one.verb, one.noun) for one in clip.actions] == [(0, 0, 0), (1, 1, 1)]


def test_moments_and_queries_are_of_the_whole_video(path):
    (clip,) = open_moments(path).clips("val")
    assert (clip.clip.clip_id, clip.clip.duration_seconds) == ("b", 2.0)
    assert [one.label for one in clip.moments] == ["cooking"]
    (query,) = open_queries(path).queries("val")
    assert (query.key, query.text, query.start_seconds) == (("b", "0", 0), "where is it", 1.0)


def test_captions_come_by_time_and_keep_their_ids(path):
    source = open_narrations(path)
    assert [one.text for one in source.narrations("val")["b"]] == ["early", "late"]
    assert source.references() == {"b:1": ["early"], "b:0": ["late"]}


def test_one_saliency_stands_for_three_annotators(path):
    (query,) = open_highlights(path).queries("val")
    assert query.duration == 10.0
    assert query.relevant_windows == [(2.0, 6.0), (8.0, 10.0)]
    expected = [[0, 0, 0], [3, 3, 3], [1, 2, 4], [0, 0, 0], [2, 2, 2]]
    assert np.array_equal(query.saliency_CA(), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lenght": 3}, r"own\.jsonl, line 2: field 'lenght' is 3: Unexpected keyword"),
        ({"subset": "test"}, "line 2: field 'subset' is 'test'"),
        ({"duration": 0}, "line 2: field 'duration' is 0"),
        ({"video": "../b"}, r"expected a relative path without '\.\.'"),
        ({"actions": [{"start": 2, "end": 1, "label": "x"}]}, "start is 2.0, behind the end, 1.0"),
        ({"actions": [{"start": 1, "end": 2}]}, "either a label, or a verb"),
        ({"highlights": [{"query": "x", "saliency": [5]}]}, "less than or equal to 4"),
        ({"video": "kitchen/a"}, "video 'kitchen/a' is in line 1 already"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, message):
    path = save(tmp_path / "own.jsonl", TRAIN, {**VAL, **change})
    with pytest.raises(AnnotationError, match=message):
        OwnLabels(path).all()


def test_a_task_whose_field_no_line_has_is_refused(tmp_path):
    path = save(tmp_path / "own.jsonl", TRAIN)
    with pytest.raises(AnnotationError, match="no line of subset 'val' has 'moments'"):
        open_moments(path).clips("val")


def test_a_length_that_is_needed_is_asked_for(tmp_path):
    path = save(tmp_path / "own.jsonl", {**VAL, "duration": None})
    with pytest.raises(AnnotationError, match="video 'b' has no 'duration'"):
        open_moments(path).clips("val")


def test_what_is_around_a_label_does_not_count(tmp_path):
    actions = [
        {"start": 0.0, "end": 1.0, "label": " red"},
        {"start": 1.0, "end": 2.0, "label": "red "},
        {"start": 2.0, "end": 3.0, "verb": "cut\n", "noun": "\tegg"},
    ]
    moments = [{"start": 0.0, "end": 1.0, "label": "cooking "}]
    line = {**TRAIN, "actions": actions, "moments": moments}
    (read,) = OwnLabels(save(tmp_path / "own.jsonl", line)).all()
    assert [action.name for action in read.actions] == ["red", "red", "cut_egg"]
    assert [moment.label for moment in read.moments] == ["cooking"]


@pytest.mark.parametrize("label", ["re\nd", "re\rd"])
def test_a_label_is_one_line(tmp_path, label):
    line = {**TRAIN, "actions": [{"start": 0.0, "end": 1.0, "label": label}]}
    with pytest.raises(AnnotationError, match=r"own\.jsonl, line 1: .*has a line break"):
        OwnLabels(save(tmp_path / "own.jsonl", line)).all()
