import json
from pathlib import Path

import pytest

from cache_schema.errors import AnnotationError
from train.annotations.qvhighlights import QVHighlightsFiles, read_submission

LINE = {
    "qid": 7,
    "query": "A dog jumps.",
    "duration": 7,
    "vid": "v_0_7",
    "relevant_windows": [[2, 6]],
    "relevant_clip_ids": [1, 2],
    "saliency_scores": [[4, 1, 0], [2, 2, 3]],
}
GIVEN = {"qid": 7, "pred_saliency_scores": [0.5], "pred_relevant_windows": [[0, 2, 0.5]]}


def write(path: Path, *lines):
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def refused(path, *lines):
    with pytest.raises(AnnotationError) as caught:
        QVHighlightsFiles(write(path / "q.jsonl", *lines)).queries("val")
    return str(caught.value)


def refused_submission(path, *lines):
    with pytest.raises(AnnotationError) as caught:
        read_submission(write(path / "p.jsonl", *lines), [7, 8])
    return str(caught.value)


def test_clips_that_are_not_listed_have_no_saliency(tmp_path):
    (query,) = QVHighlightsFiles(write(tmp_path / "any.jsonl", LINE)).queries("val")
    assert query.num_clips == 3  # of 7 seconds: whole clips only
    assert query.saliency_CA().tolist() == [[0, 0, 0], [4, 1, 0], [2, 2, 3]]


def test_a_query_without_a_match_is_one(tmp_path):
    empty = {"relevant_windows": [], "relevant_clip_ids": [], "saliency_scores": []}
    (query,) = QVHighlightsFiles(write(tmp_path / "q.jsonl", {**LINE, **empty})).queries("val")
    assert not query.saliency_CA().any()


@pytest.mark.parametrize("name", ["highlight_{}.jsonl", "highlight_{}_release.jsonl"])
def test_a_folder_has_both_subsets_and_the_val_file_finds_the_other(tmp_path, name):
    write(tmp_path / name.format("train"), LINE)
    val = write(tmp_path / name.format("val"), {**LINE, "qid": 8}, {**LINE, "qid": 9})
    for place in (tmp_path, val):
        files = QVHighlightsFiles(place)
        assert [query.qid for query in files.queries("val")] == [8, 9]
        assert [query.qid for query in files.queries("train")] == [7]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"neither highlight_train\.jsonl nor highlight_tr"):
        QVHighlightsFiles(tmp_path).queries("train")


def test_what_is_wrong_with_a_line_is_said(tmp_path):
    assert "line 2: qid 7 is in line 1 already" in refused(tmp_path, LINE, LINE)
    wrong = {
        "holds 3, expected 0 to 2, the clips of 7 seconds": {"relevant_clip_ids": [1, 3]},
        "'saliency_scores' has 2 entries, expected 1": {"relevant_clip_ids": [1]},
        "a value outside 0 to 4": {"saliency_scores": [[4, 1, 0], [2, 5, 3]]},
        "field 'duration' is 1.0, expected at least 2 seconds": {"duration": 1},
        "field 'qid' is 'x'": {"qid": "x"},
    }
    for message, fields in wrong.items():
        found = refused(tmp_path, {**LINE, **fields})
        assert "q.jsonl, line 1" in found
        assert message in found


def test_a_missing_field_a_cut_line_and_an_empty_file_are_named(tmp_path):
    assert "field 'query' is missing" in refused(
        tmp_path, {key: value for key, value in LINE.items() if key != "query"}
    )
    for text, message in ((json.dumps(LINE)[:-9], "cut short"), ("", "the file is empty")):
        (tmp_path / "t.jsonl").write_text(text)
        with pytest.raises(AnnotationError, match=message):
            QVHighlightsFiles(tmp_path / "t.jsonl").queries("val")


def test_a_submission_is_read_by_query(tmp_path):
    path = write(tmp_path / "p.jsonl", {**GIVEN, "qid": 8}, GIVEN)
    read = read_submission(path, [7, 8])
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
