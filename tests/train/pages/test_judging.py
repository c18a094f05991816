import pytest

from train.answer import Future, Segment, Span
from train.pages.judging import NOTHING, judge_futures, judge_moments, judge_rows, judge_spans


def segment(start, end, label, score=1.0):
    return Segment(start=start, end=end, label=label, score=score)


def amounts(judged):
    return {one.label: (one.annotated, one.said, one.right) for one in judged.tallies}


def confusions(judged):
    return {(one.truth, one.said): one.amount for one in judged.confusions}


def test_seconds_are_right_where_the_names_agree():
    said = [segment(0, 4, "cut"), segment(4, 10, "peel")]
    truth = [segment(0, 6, "cut"), segment(6, 10, "peel")]
    judged = judge_rows(said, truth)
    assert (judged.judged, judged.right) == (10, 8)
    assert amounts(judged) == {"cut": (6, 4, 4), "peel": (4, 6, 4)}
    assert confusions(judged) == {("cut", "cut"): 4, ("cut", "peel"): 2, ("peel", "peel"): 4}
    (error,) = judged.errors
    assert (error.start, error.end, error.label) == (4, 6, "said peel, is cut")
    assert [mark.verdict for mark in judged.said] == ["right", "right"]


def test_seconds_of_which_nothing_is_annotated_are_not_judged():
    judged = judge_rows([segment(0, 10, "cut")], [segment(2, 4, "peel")])
    assert (judged.judged, judged.right) == (2, 0)
    assert [mark.verdict for mark in judged.said] == ["wrong"]
    far = judge_rows([segment(0, 1, "cut")], [segment(2, 4, "peel")])
    assert [mark.verdict for mark in far.said] == [""]
    assert far.judged == 2  # and nothing was said of them
    assert confusions(far) == {("peel", NOTHING): 2}


def test_of_actions_at_once_any_is_right_and_the_later_one_is_missed():
    truth = [segment(0, 10, "hold"), segment(4, 8, "cut")]
    assert judge_rows([segment(0, 10, "hold")], truth).right == 10
    wrong = judge_rows([segment(4, 8, "wash")], truth)
    assert confusions(wrong)["cut", "wash"] == 4
    assert confusions(wrong)["hold", NOTHING] == 6


def test_what_is_foretold_is_compared_with_what_comes():
    truth = [segment(0, 5, "cut"), segment(5, 10, "peel")]
    judged = judge_rows([segment(1, 3, "cut"), segment(3, 8, "peel")], truth, ahead=2)
    # Seen two seconds before: cut until 3, peel from 3 to 8.
    assert (judged.right, judged.judged) == (7, 8)  # the first second of it says nothing
    assert [mark.verdict for mark in judged.said] == ["right", "right"]
    assert [(mark.start, mark.end) for mark in judged.errors] == [(0, 1)]


def test_errors_of_one_kind_that_touch_are_one():
    said = [segment(0, 2, "a"), segment(2, 4, "a")]
    judged = judge_rows(said, [segment(0, 4, "b")])
    assert [(mark.start, mark.end) for mark in judged.errors] == [(0, 4)]


@pytest.mark.parametrize("instant", [0.0, 3.0])
def test_a_segment_without_length_changes_nothing(instant):
    judged = judge_rows([segment(0, 4, "a")], [segment(0, 4, "a"), segment(instant, instant, "b")])
    assert (judged.judged, judged.right) == (4, 4)


def test_as_many_best_moments_count_as_are_annotated():
    truth = [segment(0, 10, "wash"), segment(20, 30, "cut")]
    said = [
        segment(0, 9, "wash", 0.9),  # tIoU 0.9
        segment(20, 30, "wash", 0.8),  # the place of another class
        segment(20, 28, "cut", 0.7),  # found, but two are annotated
        segment(0, 10, "wash", 0.6),  # was found already
    ]
    judged = judge_moments(said, truth)
    assert (judged.right, judged.judged) == (1, 2)
    assert [mark.verdict for mark in judged.said] == ["right", "wrong", "right", "wrong"]
    assert [mark.verdict for mark in judged.truth] == ["right", "right"]
    assert amounts(judged) == {"wash": (1, 2, 1), "cut": (1, 0, 0)}
    assert confusions(judged) == {("wash", "wash"): 1, ("cut", "wash"): 1}


def test_a_moment_that_is_half_covered_is_found_and_a_bit_less_is_missed():
    truth = [segment(0, 10, "wash")]
    assert judge_moments([segment(0, 5, "wash")], truth).right == 1
    missed = judge_moments([segment(0, 4.9, "wash")], truth)
    assert (missed.right, missed.truth[0].verdict) == (0, "missed")
    assert confusions(missed) == {(NOTHING, "wash"): 1}


def test_no_moment_and_none_annotated_is_nothing_to_judge():
    assert judge_moments([], []).judged == 0
    assert [mark.verdict for mark in judge_moments([segment(0, 1, "a")], []).said] == ["wrong"]


def span(start, end, score=1.0):
    return Span(start=start, end=end, score=score)


def test_a_query_is_as_right_as_its_best_span():
    judged = judge_spans([span(0, 4), span(10, 20)], [span(10, 18), span(2, 6)])
    assert judged.right == pytest.approx(2 / 6)
    assert [mark.verdict for mark in judged.said] == ["wrong", "right"]
    assert [mark.verdict for mark in judged.truth] == ["missed", "missed"]
    assert judge_spans([], [span(0, 1)]).right == 0


def test_a_future_is_as_right_as_the_best_of_several():
    came = [Future(time=9.0, actions=("cut", "peel", "wash", "dry"))]
    said = [
        Future(time=9.0, actions=("dry", "dry", "dry", "cut")),
        Future(time=9.0, actions=("cut", "wash", "dry", "eat", "eat")),
    ]
    judged = judge_futures(said, came)
    # Of the first four: peel is missing and eat is too much, so two edits of four.
    assert (judged.right, judged.judged) == (0.5, 1)
    assert judged.said[0].label.startswith("cut → wash")
    assert judged.said[0].verdict == "right"
    unknown = judge_futures(said, [])
    assert (unknown.judged, [mark.verdict for mark in unknown.said]) == (0, [""])
