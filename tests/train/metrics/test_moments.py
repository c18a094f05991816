import json
from pathlib import Path

import numpy as np
import pytest

from train.metrics.moments import (
    Detections,
    Instances,
    mean_average_precisions,
    retrieval_recalls,
)
from train.metrics.retrieval import Answer, rank_recalls
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(
    path.relative_to(GOLDEN)
    for task in ("moment_query", "natural_language_query")
    for path in (GOLDEN / task).iterdir()
)
VAL_FILE = {"moment_query": "moments_val.json", "natural_language_query": "nlq_val.json"}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("as_folder", [False, True])
def test_official_numbers_are_reproduced(case, as_folder):
    task = case.parts[0]
    folder = GOLDEN / case
    annotations = folder if as_folder else folder / VAL_FILE[task]
    scores = load_task(task, annotations, {}).score(folder / "predictions.json")
    expected = json.loads((folder / "expected.json").read_text())
    assert list(scores) == list(expected)
    assert scores == pytest.approx(expected, abs=1e-6)


def test_there_are_eight_golden_cases():
    assert len(CASES) == 8


def instances(*rows, scores=None):
    """Each row: clip, class, start, end."""
    table = np.array(rows, np.float64).reshape(-1, 4)
    arrays = {
        "clips_N": table[:, 0].astype(int),
        "classes_N": table[:, 1].astype(int),
        "segments_N2": table[:, 2:],
    }
    if scores is None:
        return Instances(**arrays)
    return Detections(**arrays, scores_N=np.array(scores, np.float64))


def test_average_precision_is_interpolated():
    truth = instances((0, 0, 0, 10), (1, 0, 0, 10))
    found = instances((0, 0, 50, 60), (0, 0, 0, 10), (1, 0, 0, 10), scores=[0.9, 0.8, 0.7])
    # Precision at the two hits: 1/2 and 2/3; interpolated 2/3 at both.
    assert mean_average_precisions(truth, found)["average_mAP"] == pytest.approx(2 / 3)


def test_a_class_without_detections_counts_as_zero():
    truth = instances((0, 0, 0, 10), (0, 1, 0, 10))
    found = instances((0, 0, 0, 10), scores=[0.5])
    assert mean_average_precisions(truth, found)["mAP@0.5"] == pytest.approx(0.5)


def test_a_detection_whose_best_instance_is_taken_takes_the_next():
    truth = instances((0, 0, 0, 10), (0, 0, 2, 12))
    found = instances((0, 0, 0, 10), (0, 0, 0, 10), scores=[0.9, 0.8])
    scores = mean_average_precisions(truth, found)
    assert scores["mAP@0.5"] == 1.0  # the second overlaps (2, 12) by 8/12


def test_recall_follows_the_file_and_one_detection_may_find_several():
    truth = instances((0, 0, 0, 10), (0, 0, 1, 11), (0, 1, 0, 5))
    found = instances((0, 0, 40, 50), (0, 0, 40, 50), (0, 0, 0, 10), scores=[0.1, 0.1, 0.9])
    scores = retrieval_recalls(truth, found)
    assert scores["Recall@1x_tIoU=0.7"] == 0  # 1 x 2 detections
    assert scores["Recall@2x_tIoU=0.7"] == pytest.approx(2 / 3)


def test_rank_recall_looks_at_the_first_windows_only():
    windows = np.array([[8.0, 9.0], [0.0, 4.0], [0.0, 8.0]])
    scores = rank_recalls([Answer(predicted_P2=windows, truth_2=np.array([0.0, 8.0]))])
    assert (scores["Rank@1 mIoU@0.01"], scores["mIoU"]) == (0, 0)
    assert (scores["Rank@3 mIoU@0.3"], scores["Rank@3 mIoU@0.5"]) == (100, 100)
