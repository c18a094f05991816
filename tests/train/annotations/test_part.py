import json

import pytest

from train.annotations.opening import (
    open_actions,
    open_future_actions,
    open_highlights,
    open_labels,
    open_moments,
    open_narrations,
    open_queries,
)
from train.annotations.part import PartOfVal


def line(video, subset):
    action = {"start": 0.0, "end": 2.0, "label": "stir soup"}
    return {
        "video": video,
        "subset": subset,
        "duration": 10.0,
        "actions": [{**action, "verb": "stir", "noun": "soup", "label": "stir soup"}],
        "moments": [action],
        "queries": [{"query": "where is it?", "start": 1.0, "end": 2.0}],
        "captions": [{"time": 2.0, "text": "#C C stirs"}],
        "highlights": [{"query": "soup", "saliency": [0, 3, 4, 0, 0]}],
    }


@pytest.fixture
def path(tmp_path):
    lines = [line("t", "train"), line("u", "train"), *(line(name, "val") for name in "abc")]
    for one in lines:
        del one["actions"][0]["label"]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return tmp_path / "set.jsonl"


READINGS = {
    "actions": (open_actions, "actions", lambda one: one.video_id),
    "classified actions": (open_actions, "classified_actions", str),
    "future actions": (open_future_actions, "clips", lambda one: one.video_id),
    "moments": (open_moments, "clips", lambda one: one.clip.video_id),
    "queries": (open_queries, "queries", lambda one: one.clip.video_id),
    "narrations": (open_narrations, "narrations", str),
    "highlights": (open_highlights, "queries", lambda one: one.vid),
}


@pytest.mark.parametrize("kind", READINGS)
def test_the_validation_subset_is_the_part_and_training_all(path, kind):
    opened, method, video_of = READINGS[kind]
    part = PartOfVal(opened(path), {"a", "c"})
    assert sorted({video_of(one) for one in getattr(part, method)("val")}) == ["a", "c"]
    assert sorted({video_of(one) for one in getattr(part, method)("train")}) == ["t", "u"]


def test_labels_of_a_split_cells_and_references_are_those_of_the_part(path):
    part = PartOfVal(open_labels(path, 15), {"b"})
    assert (part.videos("val", 1), part.videos("train", 1)) == (["b"], ["t", "u"])
    assert PartOfVal(open_actions(path), {"b"}).validation_cells(4) == {"b": 40}
    assert list(PartOfVal(open_narrations(path), {"b"}).references()) == ["b:0"]


def test_everything_else_is_the_sources_own(path):
    source = open_actions(path)
    part = PartOfVal(source, {"a"})
    assert part.action_names() == source.action_names()
    assert part.count_verbs() == source.count_verbs()
