import numpy as np
import pytest

from tests.train.outputs import logits_of, output_of, output_of_windows, rows_of
from train.answer import Answer, Segment
from train.answers.moment_query import MomentAnswers, MomentKnowledge, MomentQueryOptions
from train.task import whole_video


def answers(*names):
    return MomentAnswers(
        MomentKnowledge(class_names=names or ("cook", "wash")), MomentQueryOptions()
    )


def moments(*named):
    """A window's outputs; each is (start, end as shares of the window, probabilities)."""
    return {
        "segments": np.array([segment for *segment, _ in named], np.float32),
        "classes": logits_of([probabilities for *_, probabilities in named]),
    }


def segments(output):
    return [(one.start, one.end, one.label, one.score) for one in output.segments]


def test_likely_moments_are_told_best_first():
    output = output_of(
        whole_video("ego/a"),
        rows_of(10),
        **moments((0.6, 1.0, [0.02, 0.5, 0.48]), (0.0, 0.4, [0.9, 0.04, 0.06])),
    )
    assert answers().answer([output], []) == Answer(
        video="ego/a",
        task="moment_query",
        duration=10.0,
        segments=(
            Segment(start=0.0, end=4.0, label="cook", score=0.9),
            Segment(start=6.0, end=10.0, label="wash", score=0.5),
        ),
    )


def test_times_and_scores_have_the_digits_that_mean_anything():
    output = output_of(whole_video("v"), rows_of(10), **moments((1 / 3, 2 / 3, [0.7, 0.01, 0.29])))
    assert segments(answers().answer([output], [])) == [(3.333333, 6.666667, "cook", 0.7)]


def test_nothing_likely_is_nothing_said():
    output = output_of(whole_video("v"), rows_of(1), **moments((0.0, 1.0, [0.04, 0.03, 0.93])))
    assert answers().answer([output], []).segments == ()


def test_one_row_is_one_moment():
    output = output_of(whole_video("v"), rows_of(1, 0.5), **moments((0.0, 1.0, [0.8, 0.01, 0.19])))
    assert segments(answers().answer([output], [])) == [(0.0, 0.5, "cook", 0.8)]


def test_of_two_on_one_spot_the_better_is_told_and_of_equal_ones_the_first():
    worse = moments((0.0, 0.5, [0.6, 0.01, 0.39]), (0.0, 0.6, [0.7, 0.01, 0.29]))
    same = moments((0.0, 0.5, [0.6, 0.01, 0.39]), (0.0, 0.6, [0.6, 0.01, 0.39]))
    for named, end in ((worse, 6.0), (same, 5.0)):
        output = output_of(whole_video("v"), rows_of(10), **named)
        assert [one.end for one in answers().answer([output], []).segments] == [end]


def test_another_class_on_the_same_spot_is_lowered():
    both = moments((0.0, 0.5, [0.6, 0.3, 0.1]))
    said = answers().answer([output_of(whole_video("v"), rows_of(10), **both)], [])
    # exp(-1 / 0.46) = 0.1137, which leaves 0.034: too little to tell.
    assert segments(said) == [(0.0, 5.0, "cook", 0.6)]
    half = moments((0.0, 0.5, [0.6, 0.01, 0.39]), (0.25, 0.75, [0.01, 0.4, 0.59]))
    said = answers().answer([output_of(whole_video("v"), rows_of(10), **half)], [])
    lowered = 0.4 * np.exp(-((1 / 3) ** 2) / 0.46)
    assert said.segments[1].score == pytest.approx(lowered, abs=1e-6)


def test_windows_name_moments_in_shares_of_all_their_rows():
    first = moments((0.5, 1.0, [0.9, 0.01, 0.09]))
    # Rows 4 to 9, of which two give a past: half of six seconds.
    second = moments((0.5, 1.0, [0.01, 0.8, 0.19]))
    output = output_of_windows(whole_video("v"), rows_of(10), (0, 6, 0, first), (4, 10, 2, second))
    assert segments(answers().answer([output], [])) == [
        (3.0, 6.0, "cook", 0.9),
        (7.0, 10.0, "wash", 0.8),
    ]
