import json
from pathlib import Path

import pytest

from cache_schema.errors import AnnotationError
from train.annotations.qvhighlights import QVHighlightsFiles

LINE = {
    "qid": 7,
    "query": "A dog jumps.",
    "duration": 7,
    "vid": "v_0_7",
    "relevant_windows": [[2, 6]],
    "relevant_clip_ids": [1, 2],
    "saliency_scores": [[4, 1, 0], [2, 2, 3]],
}
ASKED = {key: LINE[key] for key in ("qid", "query", "duration", "vid")}
"""A line of the test file: nobody says what is salient."""


def write(path: Path, *lines):
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def refused(path, *lines):
    with pytest.raises(AnnotationError) as caught:
        QVHighlightsFiles(write(path / "q.jsonl", *lines)).queries("val")
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


@pytest.mark.parametrize("name", ["highlight_test.jsonl", "highlight_test_release.jsonl"])
def test_the_test_file_has_queries_alone(tmp_path, name):
    write(tmp_path / name, ASKED, {**ASKED, "qid": 9})
    val = write(tmp_path / "highlight_val.jsonl", LINE)
    for place in (tmp_path, val):
        first, second = QVHighlightsFiles(place).asked()
        assert (first.qid, first.vid, first.query) == (7, "v_0_7", "A dog jumps.")
        assert (first.num_clips, second.qid) == (3, 9)


def test_what_is_wrong_with_a_line_of_the_test_file_is_said(tmp_path):
    for line, message in (
        ({**ASKED, "qid": 9, "duration": 1}, r"line 2: qid 9: field 'duration' is 1\.0"),
        (ASKED, "line 2: qid 7 is in line 1 already"),
        ({"qid": 9}, "line 2: field 'query' is missing"),
    ):
        write(tmp_path / "highlight_test.jsonl", ASKED, line)
        with pytest.raises(AnnotationError, match=message):
            QVHighlightsFiles(tmp_path).asked()


def test_subtitles_are_not_taken_for_queries(tmp_path):
    subtitle = {key: value for key, value in LINE.items() if key != "saliency_scores"}
    subtitles = write(
        tmp_path / "subs_train.jsonl", {**subtitle, "qid": 100}, {**subtitle, "qid": 101}
    )
    write(tmp_path / "highlight_train_release.jsonl", LINE)
    assert [one.qid for one in QVHighlightsFiles(tmp_path).queries("train")] == [7]
    with pytest.raises(AnnotationError, match="holds subtitles to pretrain on, not queries"):
        QVHighlightsFiles(subtitles).queries("val")
