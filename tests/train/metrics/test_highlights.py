import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from train.metrics.highlights import highlight_scores, interpolated_precision, moment_scores
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden" / "highlight_detection"
CASES = sorted(path.name for path in GOLDEN.iterdir())


def naive_precision(scores, positive):
    """The rule as Moment-DETR words it, on scikit-learn's curve."""
    if positive.all() or not positive.any():
        return float(positive.all())
    precision, recall, _ = precision_recall_curve(positive, scores)
    best = [max(precision[: place + 1]) for place in range(len(precision))]
    return np.mean([best[place] for place in np.flatnonzero(np.diff(recall))])


def moments(truth, predicted):
    scores = moment_scores([np.array(truth, float)], [np.array(predicted, float)])
    return {key.removeprefix("MR-"): value for key, value in scores.items()}


@pytest.mark.parametrize("case", CASES)
def test_official_numbers_are_reproduced(case):
    expected = json.loads((GOLDEN / case / "expected.json").read_text())
    task = load_task("highlight_detection", GOLDEN / case / "highlight_val.jsonl", {})
    scores = task.score(GOLDEN / case / "predictions.jsonl")
    assert scores.keys() == expected.keys()
    exact = {key: value for key, value in expected.items() if key.endswith("_unrounded")}
    assert {key: scores[key] for key in exact} == pytest.approx(exact, abs=1e-9)
    assert scores == pytest.approx(expected, abs=0.005 + 1e-6)


def test_there_are_three_golden_cases_one_with_windows():
    sizes = [len(json.loads((GOLDEN / case / "expected.json").read_text())) for case in CASES]
    assert sorted(sizes) == [12, 12, 28]


def test_interpolated_precision_is_that_of_scikit_learns_curve():
    rng = np.random.default_rng(0)
    for num_values in (2, 5, 100):  # ties, few and many levels
        scores = rng.integers(num_values, size=40).astype(float)
        positive = rng.random((40, 6)) < [0, 0.05, 0.2, 0.5, 0.9, 1]
        expected = [naive_precision(scores, column) for column in positive.T]
        np.testing.assert_allclose(interpolated_precision(scores, positive), expected)


def test_hit_at_1_looks_beyond_the_last_clip_and_takes_the_first_maximum():
    saliency = np.array([[4, 0, 0], [0, 0, 0]])
    hits = [
        highlight_scores([saliency], [np.array(scores)])["HL-min-VeryGood-Hit1"]
        for scores in ([1.0, 0.5], [0.5, 0.5], [0.5, 0.6], [0.5, 0.1, 0.9])
    ]
    assert hits == [100, 100, 0, 0]


def test_average_precision_is_a_mean_over_annotators_with_zero_where_none_agrees():
    # Best clip first: annotator 1 has both clips, annotator 2 the second one, annotator 3 none.
    scores = highlight_scores([np.array([[4, 0, 0], [4, 4, 0]])], [np.array([0.9, 0.1])])
    assert scores["HL-min-VeryGood-mAP"] == pytest.approx(100 * (1 + 1 / 2 + 0) / 3)


def test_windows_are_matched_once_and_by_score():
    # By score: a hit, the same again (no hit), then the other one: (1 + 2/3) / 2.
    scores = moments([[0, 10], [20, 30]], [[20, 30, 0.1], [0, 10, 0.9], [0, 10, 0.5]])
    assert scores["full-mAP"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert scores["full-R1@0.5"] == 100  # the first in the file, not the best


def test_iou_on_the_threshold_is_a_hit():
    scores = moments([[0, 10]], [[0, 5, 1.0]])
    assert scores["full-mAP@0.5"] == 100
    assert scores["full-R1@0.5"] == 100
    assert scores["full-R1@0.7"] == scores["full-mAP@0.75"] == 0


def test_lengths_are_exclusive_below_and_inclusive_above():
    scores = moments([[0, 10], [20, 50]], [[20, 50, 1.0]])
    assert scores["short-mAP"] == 0
    assert scores["middle-mAP"] == 100
    assert scores["long-mAP"] is None


def test_only_the_first_ten_windows_count():
    wrong = [[90, 91, 0.9]] * 10
    assert moments([[0, 10]], [*wrong, [0, 10, 1.0]])["full-mAP"] == 0
    assert moments([[0, 10]], [*wrong[1:], [0, 10, 1.0]])["full-mAP"] == 100


def test_a_window_of_no_length_overlaps_nothing():
    scores = moments([[5, 5]], [[5, 5, 1.0]])
    assert scores["full-mAP"] == scores["full-R1@0.5"] == 0
