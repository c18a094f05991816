from dataclasses import replace

import pytest

from train.answer import (
    Answer,
    Caption,
    Future,
    QueryAnswer,
    Row,
    Segment,
    Span,
    merged,
)

EMPTY = Answer(video="v", task="t", duration=4.0)


def segment(start, end, label="cut"):
    return Segment(start=start, end=end, label=label, score=1.0)


def query(text, *starts):
    spans = tuple(Span(start=start, end=start + 1, score=1.0) for start in starts)
    return QueryAnswer(query=text, spans=spans)


def test_what_is_said_of_clips_of_a_video_comes_in_the_order_of_time():
    late = replace(
        EMPTY,
        duration=9.0,
        segments=(segment(6.0, 7.0), segment(5.0, 9.0)),
        rows=(Row(start=5.0, end=6.0), Row(start=6.0, end=7.0)),
        futures=(Future(time=7.0, actions=("cut",)),),
        captions=(Caption(start=6.0, end=9.0, text="late"),),
    )
    early = replace(
        EMPTY,
        segments=(segment(5.0, 6.0, "eat"), segment(0.0, 2.0)),
        rows=(Row(start=0.0, end=1.0),),
        futures=(Future(time=2.0, actions=("eat",)), Future(time=1.0, actions=("mix",))),
        captions=(Caption(start=1.0, end=2.0, text="early"),),
    )
    both = merged([late, early])
    assert (both.video, both.task, both.duration) == ("v", "t", 9.0)
    starts_and_ends = [(one.start, one.end) for one in both.segments]
    assert starts_and_ends == [(0.0, 2.0), (5.0, 6.0), (5.0, 9.0), (6.0, 7.0)]
    assert [one.start for one in both.rows] == [0.0, 5.0, 6.0]
    assert [one.time for one in both.futures] == [1.0, 2.0, 7.0]
    assert [one.text for one in both.captions] == ["early", "late"]


def test_what_is_said_twice_is_kept_once():
    one = replace(EMPTY, segments=(segment(0.0, 2.0), segment(0.0, 2.0, "eat")))
    assert merged([one, one]) == one
    assert merged([one]) == one


def test_queries_keep_their_order_and_are_kept_twice_if_their_spans_differ():
    answers = [
        replace(EMPTY, queries=(one,))
        for one in (query("who?", 3), query("what?", 0), query("who?", 1), query("who?", 3))
    ]
    assert merged(answers).queries == (query("who?", 3), query("what?", 0), query("who?", 1))


def test_answers_of_two_videos_are_none_of_one():
    with pytest.raises(AssertionError):
        merged([EMPTY, replace(EMPTY, video="w")])
