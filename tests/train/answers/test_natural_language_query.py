import numpy as np

from tests.train.outputs import logits_of, output_of, output_of_windows, rows_of
from train.answer import Span
from train.answers.natural_language_query import (
    NaturalLanguageQueryOptions,
    QueryAnswers,
)
from train.task import Nothing, whole_video

ANSWERS = QueryAnswers(Nothing(), NaturalLanguageQueryOptions())


def pointed(start, end):
    """Outputs of a window: probabilities of "nothing here" and of each row."""
    return {"start": logits_of(start), "end": logits_of(end)}


def spans(*outputs, queries=("where?",)):
    return [one.spans for one in ANSWERS.answer(outputs, queries).queries]


def naive_spans(start, end, times):
    """All pairs in order, best first, none that shares more than half with a better one."""
    count = len(times)
    pairs = [
        (start[1 + first] * end[1 + last], times[first, 0], times[last, 1])
        for last in range(count)
        for first in range(last + 1)
    ]
    kept = []
    for score, left, right in sorted(pairs, key=lambda pair: -pair[0]):
        overlaps = [
            (min(right, b) - max(left, a)) / (max(right, b) - min(left, a)) for _, a, b in kept
        ]
        if all(one <= 0.5 for one in overlaps):
            kept.append((score, left, right))
    return kept[:5]


def test_the_best_spans_of_a_query():
    start, end = [0.1, 0.15, 0.6, 0.05, 0.1], [0.1, 0.05, 0.1, 0.55, 0.2]
    output = output_of(whole_video("ego/a"), rows_of(4, 0.5), **pointed(start, end))
    answer = ANSWERS.answer([output], ["Where did I put the Pan?"])
    assert (answer.video, answer.task, answer.duration) == ("ego/a", "natural_language_query", 2.0)
    (asked,) = answer.queries
    assert asked.query == "Where did I put the Pan?"
    assert asked.saliency == ()
    assert asked.spans[0] == Span(start=0.5, end=1.5, score=0.33)
    expected = naive_spans(start, end, rows_of(4, 0.5))
    assert [(one.start, one.end) for one in asked.spans] == [pair[1:] for pair in expected]
    np.testing.assert_allclose(
        [one.score for one in asked.spans], [p[0] for p in expected], atol=1e-6
    )


def test_one_row_is_the_only_answer():
    output = output_of(whole_video("v"), rows_of(1), **pointed([0.5, 0.5], [0.2, 0.8]))
    assert ANSWERS.answer([output], ["a?"]).queries[0].spans == (
        Span(start=0.0, end=1.0, score=0.4),
    )


def test_an_answer_never_ends_before_it_starts():
    output = output_of(whole_video("v"), rows_of(2), **pointed([0, 0.1, 0.9], [0, 0.9, 0.1]))
    (found,) = spans(output)
    # Rows 0, 1 alone have 0.09 each, both together 0.01; the last shares half with each.
    assert found == (
        Span(start=0.0, end=1.0, score=0.09),
        Span(start=1.0, end=2.0, score=0.09),
        Span(start=0.0, end=2.0, score=0.01),
    )


def test_two_queries_are_answered_in_their_order():
    outputs = [
        output_of(whole_video("v", text), rows_of(2), **pointed(place, place))
        for text, place in (("a?", [0, 0.9, 0.1]), ("b?", [0, 0.2, 0.8]))
    ]
    answer = ANSWERS.answer(outputs, ["A", "B"])
    assert [one.query for one in answer.queries] == ["A", "B"]
    assert [one.spans[0] for one in answer.queries] == [
        Span(start=0.0, end=1.0, score=0.81),
        Span(start=1.0, end=2.0, score=0.64),
    ]


def test_of_equally_probable_spans_the_one_that_ends_first_is_first():
    even = np.zeros(201, np.float32)
    (found,) = spans(output_of(whole_video("v"), rows_of(200), start=even, end=even))
    assert [(one.start, one.end) for one in found] == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]


def test_a_window_that_says_nothing_loses_and_padding_is_no_place():
    nothing = pointed([0.9, 0.05, 0.05], [0.9, 0.05, 0.05])
    # Behind the window's two rows lies what the batch has padded.
    here = {name: np.append(one, np.float32(50)) for name, one in
            pointed([0.1, 0.1, 0.8], [0.1, 0.1, 0.8]).items()}  # fmt: skip
    output = output_of_windows(whole_video("v"), rows_of(3), (0, 2, 0, nothing), (1, 3, 1, here))
    (found,) = spans(output)
    assert found[0] == Span(start=2.0, end=3.0, score=0.64)
    assert max(one.end for one in found) == 3.0
