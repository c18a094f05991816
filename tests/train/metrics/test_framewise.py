import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from train.metrics.framewise import AveragePrecisions, class_mean_recall, top_k_hits
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden" / "online_action_detection"
CASES = sorted(path.name for path in GOLDEN.iterdir())


@pytest.mark.parametrize("case", CASES)
def test_official_numbers_are_reproduced(case):
    expected = json.loads((GOLDEN / case / "expected.json").read_text())
    task = load_task("online_action_detection", GOLDEN / case, {})
    scores = task.score(GOLDEN / case / "predictions.npz")
    assert scores.keys() == expected.keys()
    for key, value in expected.items():
        assert scores[key] == (None if value is None else pytest.approx(value, abs=1e-6))


def test_there_are_three_golden_cases_one_with_empty_subsets():
    assert len(CASES) == 3
    expected = json.loads((GOLDEN / "edge_empty_subsets" / "expected.json").read_text())
    assert expected["tail_action_mt5r_by_rule"] is None


def test_class_mean_recall_equals_scikit_learns_weighted_top_5_accuracy():
    rng = np.random.default_rng(3)
    labels = rng.integers(12, size=200) ** 2 // 12
    scores = rng.random((200, 12))
    weights = 1 / np.bincount(labels)[labels]
    expected = 100 * top_k_accuracy_score(
        labels, scores, k=5, labels=np.arange(12), sample_weight=weights
    )
    assert class_mean_recall(top_k_hits(scores, labels), labels) == pytest.approx(expected)


def test_constant_scores_hit_the_last_classes_only():
    hits = top_k_hits(np.zeros((8, 8)), np.arange(8))
    assert hits.tolist() == [False] * 3 + [True] * 5


def test_the_kth_rank_is_a_hit_and_the_next_is_none():
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 2)
    assert top_k_hits(scores, np.array([4, 5])).tolist() == [True, False]


def test_every_class_weighs_the_same_in_the_mean():
    hits = np.array([True, True, True, False])
    assert class_mean_recall(hits, np.array([7, 7, 7, 2])) == pytest.approx(50.0)


def test_an_empty_subset_has_no_recall_and_no_map():
    assert class_mean_recall(np.zeros(0, bool), np.zeros(0, np.int64)) is None
    assert mean_average_precision(0, []) is None
    nowhere = np.zeros((2, 3), bool), np.ones((2, 3), np.float32)
    assert mean_average_precision(2, [nowhere]) is None


def test_average_precision_is_not_interpolated():
    # Positives rank 2 and 3 of three: precision 1/2 and 2/3, each at half of the recall.
    video = np.array([[False, True, True]]), np.array([[0.9, 0.8, 0.7]])
    assert mean_average_precision(1, [video]) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_average_precision_is_scikit_learns_with_ties_and_over_several_videos():
    rng = np.random.default_rng(5)
    for levels in (2, 5, 1000):
        videos = [
            (rng.random((4, frames)) < 0.2, rng.integers(levels, size=(4, frames)) / np.float32(7))
            for frames in (1, 30, 200)
        ]
        positive, scores = (np.concatenate(parts, axis=1) for parts in zip(*videos, strict=True))
        expected = [
            average_precision_score(*own)
            for own in zip(positive, scores, strict=True)
            if own[0].any()
        ]
        assert mean_average_precision(4, videos) == pytest.approx(np.mean(expected), abs=1e-12)


def mean_average_precision(num_classes, videos):
    precisions = AveragePrecisions(num_classes)
    for positive_CF, scores_CF in videos:
        precisions.collect(np.arange(num_classes), positive_CF, scores_CF)
    for _, scores_CF in videos:
        precisions.count(scores_CF)
    return precisions.mean()
