import numpy as np
import pytest

from train.metrics.activitynet import average_precisions, free_instance_hits


def naive_hits(tious, threshold):
    """One detection after the other, best overlap first; no two overlaps are equal here."""
    taken, hits = set(), []
    for overlaps in tious:
        reached = {index: tiou for index, tiou in enumerate(overlaps) if tiou >= threshold}
        free = [index for index in sorted(reached, key=lambda i: -reached[i]) if index not in taken]
        taken |= set(free[:1])
        hits.append(bool(free))
    return hits


def test_hits_equal_a_naive_loop():
    rng = np.random.default_rng(0)
    for num_detections, num_instances in ((1, 1), (20, 1), (3, 8), (30, 12)):
        tious = rng.random((num_detections, num_instances))
        hits = free_instance_hits(tious, (0.3, 0.6, 0.95))
        expected = [naive_hits(tious.tolist(), threshold) for threshold in (0.3, 0.6, 0.95)]
        assert hits.tolist() == expected


def test_an_instance_is_found_once_and_then_the_next_best_is_tried():
    hits = free_instance_hits(np.array([[0.9, 0.6], [0.8, 0.6], [0.8, 0.6]]), (0.5, 0.7))
    assert hits.tolist() == [[True, True, False], [True, False, False]]


def test_an_overlap_of_exactly_the_threshold_is_a_hit():
    assert free_instance_hits(np.array([[0.5]]), (0.5, 0.51)).tolist() == [[True], [False]]


def test_nan_counts_as_reached_and_is_tried_first():
    tious = np.array([[0.9, np.nan], [0.9, 0.0]])
    assert free_instance_hits(tious, (0.5,)).tolist() == [[True, True]]


def test_no_detection_is_no_hit():
    assert free_instance_hits(np.zeros((0, 2)), (0.1, 0.5)).shape == (2, 0)


def test_average_precision_takes_the_best_precision_at_this_or_a_higher_recall():
    hits = np.array([[False, True, True], [True, False, False], [False, False, False]])
    # Precision at the hits: 1/2 and 2/3, interpolated 2/3 at both; 1 at one of two instances.
    assert average_precisions(hits, 2).tolist() == pytest.approx([2 / 3, 1 / 2, 0])
