import numpy as np
import pytest
from scipy.special import expit

from tests.train.outputs import output_of, output_of_windows, rows_of
from train.answer import Answer, QueryAnswer, Span
from train.answers.highlight_detection import (
    HighlightAnswers,
    HighlightDetectionOptions,
)
from train.task import Nothing, whole_video

ANSWERS = HighlightAnswers(Nothing(), HighlightDetectionOptions())
LOW, HIGH = 0.119203, 0.880797
"""Sigmoid of -2 and 2."""


def output(*saliency, seconds=1.0):
    scores = np.array(saliency, np.float32)[:, None]
    return output_of(whole_video("v"), rows_of(len(saliency), seconds), saliency=scores)


def spans(*saliency, seconds=1.0):
    (asked,) = ANSWERS.answer([output(*saliency, seconds=seconds)], ["steam"]).queries
    return [(one.start, one.end, one.score) for one in asked.spans]


def test_saliency_of_each_row_and_the_clips_that_stand_out():
    assert ANSWERS.answer([output(-2, -2, 2, 2)], ["The soup boils over"]) == Answer(
        video="v",
        task="highlight_detection",
        duration=4.0,
        queries=(
            QueryAnswer(
                query="The soup boils over",
                spans=(Span(start=2.0, end=4.0, score=HIGH),),
                saliency=(
                    Span(start=0.0, end=1.0, score=LOW),
                    Span(start=1.0, end=2.0, score=LOW),
                    Span(start=2.0, end=3.0, score=HIGH),
                    Span(start=3.0, end=4.0, score=HIGH),
                ),
            ),
        ),
    )


def test_the_better_of_two_highlights_is_first():
    assert spans(2, 2, -2, -2, 3, 3) == [
        (4.0, 6.0, pytest.approx(expit(3), abs=1e-6)),
        (0.0, 2.0, HIGH),
    ]


def test_neighbouring_clips_are_one_highlight():
    assert spans(-2, -2, 2, 2, 2, 2) == [(2.0, 6.0, HIGH)]


def test_where_nothing_stands_out_everything_does():
    assert spans(0, 0, 0, 0) == [(0.0, 4.0, 0.5)]


def test_a_video_shorter_than_a_clip():
    assert spans(2, seconds=0.5) == [(0.0, 0.5, HIGH)]


def test_the_last_second_of_an_odd_video_may_be_the_highlight():
    assert spans(-2, -2, -2, -2, 2) == [(4.0, 5.0, HIGH)]


def test_a_video_that_ends_a_rounding_error_late_has_no_clip_more():
    times = rows_of(4)
    times[-1, 1] += 1e-9
    scores = np.float32([[-2], [-2], [2], [2]])
    one = output_of(whole_video("v"), times, saliency=scores)
    (asked,) = ANSWERS.answer([one], ["steam"]).queries
    assert asked.spans == (Span(start=2.0, end=4.0, score=HIGH),)


def test_rows_longer_than_a_clip_speak_for_all_that_they_cover():
    assert spans(2, -2, seconds=4.0) == [(0.0, 4.0, HIGH)]


def test_two_queries_are_answered_in_their_order():
    said = ANSWERS.answer([output(-2, -2, 2, 2), output(2, 2, -2, -2)], ["a", "b"])
    assert [(one.query, one.spans[0].start) for one in said.queries] == [("a", 2.0), ("b", 0.0)]


def test_context_of_a_window_has_no_saliency():
    low, high = [[-2.0]], [[2.0]]
    one = output_of_windows(
        whole_video("v"),
        rows_of(4),
        (0, 2, 0, {"saliency": np.float32(low + low)}),
        (1, 4, 1, {"saliency": np.float32(high + high + high)}),
    )
    (asked,) = ANSWERS.answer([one], ["a"]).queries
    assert [span.score for span in asked.saliency] == [LOW, LOW, HIGH, HIGH]
