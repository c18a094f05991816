import pytest

from train.answer import (
    Answer,
    Caption,
    ClassScore,
    Forecast,
    Future,
    QueryAnswer,
    Row,
    Segment,
    Span,
)
from train.answers.action_segmentation import SegmentationAnswers
from train.answers.highlight_detection import HighlightAnswers
from train.answers.moment_query import MomentAnswers
from train.answers.online_captioning import CaptionAnswers
from train.pages.showing import MOST_CURVES, MOST_MOMENTS, MOST_POINTS, view_of
from train.pages.view import ClassTally

ROWS = SegmentationAnswers.facts


def answer(**said):
    return Answer(video="P01", task="some_task", duration=10.0, **said)


def segment(start, end, label, score=1.0):
    return Segment(start=start, end=end, label=label, score=score)


def scores(**by_label):
    best = sorted(by_label.items(), key=lambda one: -one[1])
    return tuple(ClassScore(label=label, probability=value) for label, value in best)


def lanes(view):
    return [(lane.name, lane.kind) for lane in view.lanes]


def curves(view):
    return {curve.name: curve.percent for curve in view.curves}


def test_without_annotations_only_what_is_said_is_shown():
    view = view_of(answer(segments=(segment(0, 10, "cut"),)), None, ROWS)
    assert lanes(view) == [("says", "said")]
    assert (view.score, view.num_said, view.num_wrong) == (None, 1, 0)
    assert view.tallies == (ClassTally(label="cut", said=10.0),)


def test_what_is_true_stands_below_and_errors_below_that():
    said = answer(segments=(segment(0, 6, "cut"), segment(6, 10, "peel")))
    view = view_of(said, answer(segments=(segment(0, 10, "cut"),)), ROWS)
    assert lanes(view) == [("says", "said"), ("annotated", "truth"), ("errors", "errors")]
    assert (view.score, view.unit, view.num_wrong) == (0.6, "seconds", 1)
    assert [one.label for one in view.tallies] == ["cut", "peel"]


def test_curves_are_of_the_most_probable_classes_and_not_longer_than_a_screen():
    rows = [
        Row(start=k, end=k + 1, now=scores(**{f"c{n}": (n + 1) / 100 for n in range(5)}))
        for k in range(2 * MOST_POINTS + 1)
    ]
    rows[0] = Row(start=0, end=1, now=scores(rare=0.5, never=0.4))
    view = view_of(answer(rows=tuple(rows)), None, ROWS)
    assert len(view.curves) == MOST_CURVES
    assert "never" not in curves(view)
    assert curves(view)["c4"][1] == 5
    # Three rows to a point: one of 0 and two of 0.05.
    assert curves(view)["c4"][0] == 3
    assert view.times[:2] == (1.5, 4.5)
    assert len(view.times) == 267 <= MOST_POINTS
    assert view.curve_name == "probability"


def test_what_is_foretold_is_shown_for_each_instant_and_the_nearest_is_judged():
    def ahead(*labels):
        return tuple(
            Forecast(seconds=float(second), classes=scores(**{label: 0.9}))
            for second, label in enumerate(labels, 1)
        )

    rows = tuple(Row(start=k, end=k + 1, ahead=ahead("cut", "peel")) for k in range(4))
    view = view_of(answer(rows=rows), answer(segments=(segment(0, 10, "cut"),)), ROWS)
    assert lanes(view) == [
        ("in 1 s", "said"),
        ("annotated", "truth"),
        ("errors in 1 s", "errors"),
        ("in 2 s", "said"),
        ("errors in 2 s", "errors"),
    ]
    # Said from 1 to 4 of the seconds 2 to 5; the first one nobody could foretell.
    assert (view.right, view.judged) == (3, 9)
    assert view.curve_name == "probability in 1 s"


def test_moments_are_the_best_ones():
    said = tuple(segment(k, k + 1, "wash", 1 / (k + 1)) for k in range(MOST_MOMENTS + 5))
    view = view_of(answer(segments=said), answer(segments=said[:1]), MomentAnswers.facts)
    assert len(view.lanes[0].marks) == MOST_MOMENTS
    assert (view.score, view.unit) == (1.0, "moments")


def test_each_query_has_lanes_of_its_own_and_its_saliency_beside_the_annotators():
    def query(text, start, saliency):
        spans = (Span(start=start, end=start + 2, score=0.5),)
        points = (Span(start=0, end=2, score=saliency),)
        return QueryAnswer(query=text, spans=spans, saliency=points)

    said = answer(queries=(query("a dog", 0, 0.2), query("a cat", 4, 0.4)))
    truth = answer(queries=(query("a cat", 4, 1.0),))
    view = view_of(said, truth, HighlightAnswers.facts)
    assert lanes(view) == [
        ("a dog", "said"),
        ("a cat", "said"),
        ("a cat (annotated)", "truth"),
    ]
    assert (view.score, view.judged, view.unit) == (1.0, 1, "queries")
    assert view.times == (1.0, 1.0, 1.0)
    assert curves(view) == {
        "a dog": (20, None, None),
        "a cat": (None, 40, None),
        "a cat (annotated)": (None, None, 100),
    }


def test_captions_stand_beside_those_of_annotators_and_are_not_judged():
    one = Caption(start=1, end=3, text="c cuts")
    view = view_of(answer(captions=(one,)), answer(captions=(one,)), CaptionAnswers.facts)
    assert lanes(view) == [("says", "said"), ("annotated", "truth")]
    assert all(lane.is_text for lane in view.lanes)
    assert view.score is None


def test_futures_are_shown_where_what_was_seen_ends():
    said = answer(futures=(Future(time=8.0, actions=("cut", "peel")),))
    view = view_of(said, None, ROWS)
    (lane,) = view.lanes
    assert (lane.marks[0].start, lane.marks[0].end) == (3.0, 8.0)
    assert lane.marks[0].label == "cut → peel"
    came = answer(
        futures=(Future(time=8.0, actions=("cut", "wash")),), segments=(segment(8, 9, "cut"),)
    )
    judged = view_of(said, came, ROWS)
    assert judged.score == pytest.approx(0.5)
    assert lanes(judged)[1:] == [("what came", "truth"), ("annotated", "truth")]
