import json
from pathlib import Path

import numpy as np
import pytest

from train.metrics.segmental import LabelPair, segmental_scores, segments_of
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden" / "action_segmentation"
CASES = sorted(path.name for path in GOLDEN.iterdir())


def pair(truth, predicted):
    return LabelPair(truth_F=np.array(truth), predicted_F=np.array(predicted))


@pytest.mark.parametrize("case", CASES)
def test_official_numbers_are_reproduced(case):
    expected = json.loads((GOLDEN / case / "expected.json").read_text())
    task = load_task("action_segmentation", GOLDEN / case, {"variant": "asformer"})
    scores = task.score(GOLDEN / case / "predictions")
    assert {key: scores[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_there_are_six_golden_cases_and_one_has_four_splits():
    assert len(CASES) == 6
    assert len(json.loads((GOLDEN / "four_splits_small" / "expected.json").read_text())) == 50


def test_segments_are_runs_without_background():
    segments = segments_of(np.array([1, 1, 0, 0, 2]), background=0)
    assert segments.labels_S.tolist() == [1, 2]
    assert segments.starts_S.tolist() == [0, 4]
    assert segments.ends_S.tolist() == [2, 5]


def test_asformers_last_segment_ends_one_frame_early():
    segments = segments_of(np.array([1, 1, 2]), last_ends_early=True)
    assert segments.ends_S.tolist() == [2, 2]


def test_pooled_and_video_mean_accuracy_differ_by_video_length():
    scores = segmental_scores([pair([1, 1, 1], [1, 1, 1]), pair([2], [1])])
    assert scores["Acc"] == pytest.approx(75.0)
    assert scores["Acc_video_mean"] == pytest.approx(50.0)


def test_edit_is_one_minus_distance_over_the_longer_sequence():
    scores = segmental_scores([pair([1, 1, 2, 2], [1, 3, 2, 1])])
    assert scores["Edit"] == pytest.approx(50.0)


def test_f1_counts_a_true_segment_once():
    # Truth 1 x 4; predicted 1 1 2 1: IoU 2/4 (hit at .5), 0, 1/4 (taken already).
    scores = segmental_scores([pair([1, 1, 1, 1], [1, 1, 2, 1])])
    assert scores["F1@0.50"] == pytest.approx(100 * 2 * 1 / (3 + 1))


def test_a_video_of_background_only_scores_f1_0_and_edit_100():
    scores = segmental_scores([pair([0, 0], [0, 0])], background=0)
    assert (scores["F1@0.10"], scores["Edit"], scores["Acc"]) == (0.0, 100.0, 100.0)


def test_predicting_where_the_truth_has_no_segment_is_a_false_positive():
    scores = segmental_scores([pair([0, 0], [0, 1]), pair([1, 1], [1, 1])], background=0)
    assert scores["F1@0.10"] == pytest.approx(100 * 2 / 3)
