"""Files of submissions, archives of them, and what is told of those that others made."""

import json
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.annotations.test_qvhighlights import ASKED, LINE, write
from train.submission import check_written, submission_files, violations_of
from train.task import TaskFacts
from train.tasks import load_task, task_class

PLAIN = TaskFacts(name="plain", submission=".json")
FOLDER = TaskFacts(name="plain")
HIGHLIGHTS = task_class("highlight_detection").answers_type.facts
MOMENTS = task_class("moment_query").answers_type.facts
MEMBERS = {"val": "hl_val_submission.jsonl", "test": "hl_test_submission.jsonl"}


def line(qid):
    return {
        **{key: ASKED[key] for key in ("query", "vid")},
        "qid": qid,
        "pred_relevant_windows": [[0, 2, 0.5]],
        "pred_saliency_scores": [0.5, 0.25, 0.0],
    }


@pytest.fixture
def task(tmp_path):
    write(tmp_path / "highlight_val.jsonl", LINE)
    write(tmp_path / "highlight_test.jsonl", {**ASKED, "qid": 9})
    return load_task("highlight_detection", tmp_path, {})


def archive(path, members):
    with ZipFile(path, "w") as made:
        for name, qids in members.items():
            made.writestr(name, "".join(json.dumps(line(qid)) + "\n" for qid in qids))
    return path


def test_one_subset_is_one_file(tmp_path):
    with submission_files(MOMENTS, ["test"], tmp_path / "new" / "p.json") as files:
        assert files == {"test": tmp_path / "new" / "p.json"}
        assert files["test"].parent.is_dir()


def test_a_pair_becomes_an_archive_without_folders(tmp_path):
    out = tmp_path / "s.zip"
    with submission_files(HIGHLIGHTS, ["test", "val"], out) as files:
        for subset, path in files.items():
            path.write_text(f"of {subset}")
        assert not out.exists()
    with ZipFile(out) as made:
        assert {name: made.read(name) for name in made.namelist()} == {
            MEMBERS["val"]: b"of val",
            MEMBERS["test"]: b"of test",
        }
    assert [path.name for path in tmp_path.iterdir()] == ["s.zip"]


def test_what_goes_wrong_on_the_way_leaves_no_archive(tmp_path):
    with pytest.raises(KeyError), submission_files(HIGHLIGHTS, ["test", "val"], tmp_path / "s.zip"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("facts", "subsets", "out", "message"),
    [
        (PLAIN, ["test"], "p.json", "plain has no subset 'test': no challenge scores"),
        (MOMENTS, ["val", "test"], "p.json", "one file for val and test; ask for one of them"),
        (
            HIGHLIGHTS,
            ["val", "test"],
            "p.jsonl",
            r"one file for val and test; name --out FILE\.zip",
        ),
        (HIGHLIGHTS, ["test"], "p.zip", "holds val and test; give --subset val --subset test"),
        (HIGHLIGHTS, ["train"], "p.zip", "holds val and test; give --subset val --subset test"),
    ],
)
def test_subsets_that_make_no_submission_are_refused(tmp_path, facts, subsets, out, message):
    files = submission_files(facts, subsets, tmp_path / out)
    with pytest.raises(ConfigError, match=message), files:
        pass


@pytest.mark.parametrize(
    ("facts", "out", "message"),
    [
        (FOLDER, "v.csv", r"is a folder with one file per video\. Name a folder, such as .*/v\.$"),
        (FOLDER, "file", "is a folder with one file per video"),
        (PLAIN, "v.csv", r"a submission of plain is a \.json file\. Name it .*/v\.json\.$"),
        (PLAIN, "v", r"Name it .*/v\.json\.$"),
        (PLAIN, "folder", r"is a folder, .* such as .*/folder/plain\.json\.$"),
        (HIGHLIGHTS, "v.json", r"is a \.jsonl file"),
    ],
)
def test_a_place_that_promises_something_else_is_refused(tmp_path, facts, out, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    files = submission_files(facts, ["val"], tmp_path / out)
    with pytest.raises(ConfigError, match=message), files:
        pass


@pytest.mark.parametrize(
    ("facts", "out"), [(FOLDER, "new"), (FOLDER, "new.2024"), (FOLDER, "f.csv"), (PLAIN, "file")]
)
def test_a_place_that_suits_or_is_there_as_such_is_taken(tmp_path, facts, out):
    (tmp_path / "f.csv").mkdir()
    (tmp_path / "file").touch()
    with submission_files(facts, ["val"], tmp_path / out) as files:
        assert files == {"val": tmp_path / out}


def test_what_was_written_is_checked_where_a_challenge_looks_at_it(tmp_path, task):
    right = write(tmp_path / "right.jsonl", line(9))
    check_written(task, right, "test")
    check_written(task, write(tmp_path / "val.jsonl", line(7)), "val")
    with pytest.raises(AnnotationError, match=r"breaks the rules of QVHighlights.\n.*qid 9 is not"):
        check_written(task, right, "val")
    check_written(task, right, "train")


def test_only_the_first_of_many_violations_are_told(tmp_path, task):
    path = write(tmp_path / "p.jsonl", *(line(qid) for qid in range(100, 150)))
    with pytest.raises(AnnotationError) as caught:
        check_written(task, path, "test")
    # 50 unknown queries and one that is missing
    assert str(caught.value).splitlines()[-1] == "... and 31 more."
    assert str(caught.value).count("not in the annotations") == 20


def test_a_file_and_an_archive_that_follow_the_rules(tmp_path, task):
    assert list(violations_of(task, write(tmp_path / "p.jsonl", line(9)))) == []
    made = archive(tmp_path / "s.zip", {MEMBERS["val"]: [7], MEMBERS["test"]: [9]})
    assert list(violations_of(task, made)) == []


def test_an_archive_is_told_what_lacks_and_what_its_files_break(tmp_path, task):
    made = archive(tmp_path / "s.zip", {"sub/" + MEMBERS["val"]: [7], MEMBERS["test"]: [8]})
    told = [one.removeprefix(str(made)) for one in violations_of(task, made)]
    assert told == [
        f": holds 'sub/{MEMBERS['val']}', expected {MEMBERS['val']} and {MEMBERS['test']} alone.",
        f": holds no file '{MEMBERS['val']}'. It must not lie in a folder.",
        f"/{MEMBERS['test']}, line 1: qid 8 is not in the annotations.",
        f"/{MEMBERS['test']}: 1 of 1 queries have no prediction, the first is qid 9. The evaluator "
        "scores all or none.",
    ]


def test_what_is_no_archive_is_refused(tmp_path, task):
    (tmp_path / "s.zip").write_text("no archive")
    with pytest.raises(AnnotationError, match="cannot be read as a zip archive"):
        list(violations_of(task, tmp_path / "s.zip"))
    with pytest.raises(ConfigError, match="plain has no subset 'test'"):
        list(violations_of(SimpleNamespace(facts=PLAIN), tmp_path / "p.json"))
