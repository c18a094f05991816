import json

import pytest

from cache_schema.errors import AnnotationError
from tests.train.annotations.test_qvhighlights import ASKED, write
from train.annotations.highlight_submission import (
    highlight_violations,
    read_highlights,
    write_highlights,
)
from train.annotations.qvhighlights import QVHighlightsFiles

GIVEN = {"qid": 7, "pred_saliency_scores": [0.5], "pred_relevant_windows": [[0, 2, 0.5]]}
RIGHT = {
    "qid": 7,
    "query": "A dog jumps.",
    "vid": "v_0_7",
    "pred_relevant_windows": [[0, 2, 0.5], [4, 6, 0.25]],
    "pred_saliency_scores": [0.5, -1.0, 0.25],
}


@pytest.fixture
def queries(tmp_path):
    write(tmp_path / "highlight_test.jsonl", ASKED, {**ASKED, "qid": 8})
    return {one.qid: one for one in QVHighlightsFiles(tmp_path).asked()}


def refused_submission(path, *lines):
    with pytest.raises(AnnotationError) as caught:
        read_highlights(write(path / "p.jsonl", *lines), [7, 8])
    return str(caught.value)


def test_a_submission_is_read_by_query(tmp_path):
    path = write(tmp_path / "p.jsonl", {**GIVEN, "qid": 8}, GIVEN)
    read = read_highlights(path, [7, 8])
    assert read[7].pred_saliency_scores == [0.5]
    assert read[7].pred_relevant_windows == [(0, 2, 0.5)]


def test_a_wrong_submission_is_refused(tmp_path):
    other = {**GIVEN, "qid": 8}
    assert "line 2: qid 9 is not in the annot" in refused_submission(
        tmp_path, GIVEN, {**GIVEN, "qid": 9}
    )
    assert "line 3: qid 8 is predicted twice" in refused_submission(tmp_path, GIVEN, other, other)
    assert "1 of 2 queries have no prediction, the first is qid 8" in refused_submission(
        tmp_path, GIVEN
    )
    nan = {**other, "pred_saliency_scores": [float("nan")]}
    assert "finite" in refused_submission(tmp_path, GIVEN, nan)
    empty = {**other, "pred_saliency_scores": []}
    assert "qid 8: field 'pred_saliency_scores' is empty" in refused_submission(
        tmp_path, GIVEN, empty
    )
    assert "qid 8: field 'pred_relevant_windows' is missing" in refused_submission(
        tmp_path, GIVEN, {"qid": 8, "pred_saliency_scores": [1]}
    )
    neither = [{"qid": 7}, {"qid": 8}]
    assert "no line has 'pred_saliency_scores'" in refused_submission(tmp_path, *neither)


def test_what_is_written_is_the_published_line(tmp_path, queries):
    write_highlights(
        tmp_path / "p.jsonl", [(queries[7], [(0, 2, 0.5), (4, 6, 0.25)], [0.5, -1, 0.25])]
    )
    assert json.loads((tmp_path / "p.jsonl").read_text()) == RIGHT


def test_a_right_submission_breaks_no_rule(tmp_path, queries):
    path = write(tmp_path / "p.jsonl", {**RIGHT, "qid": 8}, RIGHT)
    assert list(highlight_violations(path, queries)) == []


def test_every_violation_is_told_and_names_its_line(tmp_path, queries):
    wrong = {**RIGHT, "pred_saliency_scores": [0.5], "pred_relevant_windows": [[4, 2, 0.5]]}
    path = write(tmp_path / "p.jsonl", wrong, RIGHT, {**RIGHT, "qid": 9})
    told = [one.removeprefix(f"{path}") for one in highlight_violations(path, queries)]
    assert told == [
        ", line 2: qid 7 is predicted twice.",
        ", line 3: qid 9 is not in the annotations.",
        ": 1 of 2 queries have no prediction, the first is qid 8. "
        "The evaluator scores all or none.",
        ", line 1: qid 7: field 'pred_saliency_scores' has 1 scores, expected 3: "
        "one of each 2-s clip of 7 seconds.",
        ", line 1: qid 7: field 'pred_relevant_windows' has [4, 2], "
        "expected seconds with 0 <= start <= end.",
    ]


@pytest.mark.parametrize(("num_scores", "is_right"), [(1, False), (2, True), (4, True), (5, False)])
def test_one_score_more_or_less_is_let_pass_as_the_evaluator_does(
    tmp_path, queries, num_scores, is_right
):
    lines = [{**RIGHT, "qid": qid, "pred_saliency_scores": [0.5] * num_scores} for qid in (7, 8)]
    found = list(highlight_violations(write(tmp_path / "p.jsonl", *lines), queries))
    assert len(found) == (0 if is_right else 2)


def test_lines_that_are_no_predictions_are_told_all_at_once(tmp_path, queries):
    path = write(tmp_path / "p.jsonl", {"qid": "x"}, RIGHT, {**RIGHT, "qid": None})
    first, second = highlight_violations(path, queries)
    assert "line 1: field 'qid' is 'x'" in first
    assert "line 3: field 'qid' is None" in second
