"""Videos that nobody has labelled, answered from a stream."""

from dataclasses import dataclass

import numpy as np
import pytest

from cache_schema.errors import ConfigError, StoreError
from cache_schema.store import open_store
from tests.train.outputs import output_of, rows_of
from tests.train.runs import make_config, make_trainer, use_toy_task
from tests.train.toy import ToyAnswers, labels_of
from train.data.samples import Found
from train.predict import answering
from train.predict.answering import answer_videos, check_queries
from train.predict.ensemble import Outputs, open_runs
from train.task import TaskFacts

LENGTHS = {"a": 41, "b": 9, "c": 21, "d": 30, "e": 17}


@pytest.fixture
def toy_run(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    make_trainer(make_config(tmp_path), tmp_path / "run").train()
    ensemble = open_runs([tmp_path / "run"], device="cpu", task_name="", options={})
    return ensemble, open_store(tmp_path / "f.zarr").stream()


def test_every_video_is_answered_whether_anybody_labelled_it_or_not(toy_run):
    ensemble, stream = toy_run
    answered = list(answer_videos(ensemble, [stream], stream.video_ids))
    assert [one.answer.video for one in answered] == sorted(LENGTHS, key=lambda v: -LENGTHS[v])
    for one in answered:
        (output,) = one.outputs
        assert len(output.times_R2) == LENGTHS[one.answer.video]
        assert one.answer == ToyAnswers().answer([output], [])
        assert one.answer.duration == LENGTHS[one.answer.video] / 2


def test_a_trained_run_says_what_is_there(toy_run):
    ensemble, stream = toy_run
    (one,) = answer_videos(ensemble, [stream], ["d"])
    hits = one.outputs[0].rows("current").argmax(1) == labels_of("d", LENGTHS["d"])
    assert hits.mean() > 0.8


def test_only_some_videos_are_held_at_once(toy_run, monkeypatch):
    ensemble, stream = toy_run
    at_once = {one.answer.video: one.answer for one in answer_videos(ensemble, [stream], "abcde")}
    monkeypatch.setattr(answering, "VIDEOS_AT_ONCE", 2)
    in_parts = [one.answer for one in answer_videos(ensemble, [stream], ["b", "a", "c", "e", "d"])]
    # Of two the longer comes first.
    assert [one.video for one in in_parts] == ["a", "b", "c", "e", "d"]
    assert [(s.start, s.label) for one in in_parts for s in one.segments] == [
        (s.start, s.label) for one in in_parts for s in at_once[one.video].segments
    ]


def test_no_video_is_no_answer(toy_run):
    ensemble, stream = toy_run
    assert list(answer_videos(ensemble, [stream], [])) == []


def test_a_video_that_is_not_there_is_told_before_anything_is_predicted(toy_run):
    ensemble, stream = toy_run
    with pytest.raises(StoreError, match="no video 'zz' among 5"):
        next(answer_videos(ensemble, [stream], ["a", "zz"]))


@dataclass
class Asked:
    """Stands for runs of a task with queries: what it is asked is what it says."""

    facts: TaskFacts

    @property
    def runs(self):
        return []

    @property
    def answers(self):
        return self

    def answer(self, outputs, queries):
        return [(one.sample.video_id, one.sample.query) for one in outputs], list(queries)

    def outputs(self, samples, streams, asked, *, allow_missing):
        said = (output_of(one, rows_of(1)) for one in samples)
        return Outputs(outputs=said, found=Found(rows=[], missing=[]))


def test_each_video_is_asked_each_query_in_the_words_of_the_task():
    facts = TaskFacts(name="asking", query_place="before", query_text=str.upper)
    answered = list(answer_videos(Asked(facts), [], ["a", "b"], ["who?", "when?"]))
    assert [one.answer for one in answered] == [
        ([("a", "WHO?"), ("a", "WHEN?")], ["who?", "when?"]),
        ([("b", "WHO?"), ("b", "WHEN?")], ["who?", "when?"]),
    ]
    assert [len(one.outputs) for one in answered] == [2, 2]


def test_two_videos_of_one_length_keep_their_queries_together(toy_run):
    ensemble, _ = toy_run
    from cache_schema.memory import memory_stream

    recipe = ensemble.runs[0].checkpoint.recipe
    rows = np.ones((20, 6)), rows_of(20, 0.5)
    stream = memory_stream(recipe, {"x": rows, "y": rows, "z": rows})
    videos = [one.answer.video for one in answer_videos(ensemble, [stream], ["z", "x", "y"])]
    assert videos == ["z", "x", "y"]


@pytest.mark.parametrize(
    ("place", "queries", "message"),
    [
        ("before", [], "asking answers queries: give one or more with --query TEXT"),
        ("none", ["who?"], "asking has no queries; leave --query out"),
        ("after", ["who?", "  "], "A query is empty"),
    ],
)
def test_queries_must_suit_the_task(place, queries, message):
    with pytest.raises(ConfigError, match=message):
        check_queries(TaskFacts(name="asking", query_place=place), queries)


def test_queries_that_suit_pass():
    check_queries(TaskFacts(name="asking", query_place="after"), ["who?"])
    check_queries(TaskFacts(name="quiet"), [])
