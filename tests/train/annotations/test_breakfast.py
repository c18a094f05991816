import pytest

from cache_schema.errors import AnnotationError
from tests.train.annotations.annotation_folders import breakfast_folder, write
from train.annotations.breakfast import BreakfastFolder, read_labels


@pytest.fixture
def folder(tmp_path):
    return breakfast_folder(
        tmp_path, {"a": ["SIL", "pour"], "b": ["stir"]}, train=["a"], test=["b", "a"]
    )


def test_labels_become_class_ids(folder):
    breakfast = BreakfastFolder(folder)
    assert breakfast.class_names == ("SIL", "pour", "stir")
    assert breakfast.labels("a").tolist() == [0, 1]


def test_val_is_the_test_side_in_the_order_of_its_file(folder):
    breakfast = BreakfastFolder(folder)
    assert breakfast.videos("val", 1) == ["b", "a"]
    assert breakfast.videos("train", 1) == ["a"]


def test_test_splits_are_numbered_by_their_files(folder):
    write(folder / "splits" / "test.split10.bundle", "a.txt")
    write(folder / "splits" / "train.split7.bundle", "a.txt")
    assert BreakfastFolder(folder).test_splits == [1, 10]


@pytest.mark.parametrize(
    "content",
    [b"SIL\r\npour\r\n", b"\xef\xbb\xbfSIL\npour", b"SIL\npour\n\n \n", b"SIL \n pour\n"],
    ids=["crlf", "byte-order mark", "trailing blank lines", "blanks around"],
)
def test_harmless_differences_of_files_are_read_over(folder, content):
    (folder / "groundTruth" / "a.txt").write_bytes(content)
    assert BreakfastFolder(folder).labels("a").tolist() == [0, 1]


def test_a_bundle_may_open_with_a_comment_and_list_paths(folder):
    write(folder / "splits" / "test.split1.bundle", "#bundle", "./data/groundTruth/a.txt")
    assert BreakfastFolder(folder).videos("val", 1) == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"SIL\npuor\n", r"a\.txt, line 2: label 'puor' is not in mapping.*Did you mean 'pour'"),
        (b"SIL\n\npour\n", r"a\.txt, line 2: the line is blank"),
        (b"", r"a\.txt: the file is empty"),
        (b"SIL\n\xff\n", r"a\.txt: byte 4 is not UTF-8"),
    ],
)
def test_a_wrong_label_file_is_named_with_its_line(folder, content, message):
    (folder / "groundTruth" / "a.txt").write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        BreakfastFolder(folder).labels("a")


def test_a_missing_label_file_is_named(folder):
    with pytest.raises(AnnotationError, match=r"groundTruth.c\.txt: cannot be read"):
        BreakfastFolder(folder).labels("c")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0 SIL", "one pour"], "line 2: got 'one pour', expected '<id> <name>'"),
        (["0 SIL", "1"], "line 2: got '1', expected '<id> <name>'"),
        (["0 SIL", "0 pour"], "line 2: got '0 pour', but this id or name occurs above"),
        (["0 SIL", "1 SIL"], "line 2: got '1 SIL', but this id or name occurs above"),
        (["0 SIL", "2 pour"], r"mapping\.txt: id 1 is missing"),
    ],
)
def test_a_wrong_mapping_is_refused(folder, lines, message):
    write(folder / "mapping.txt", *lines)
    with pytest.raises(AnnotationError, match=message):
        BreakfastFolder(folder)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.txt", "b.txt", "a.txt"], "line 3: video 'a' is listed already in line 1"),
        (["a.avi"], "line 1: got 'a.avi', expected '<video>.txt'"),
        (["../...txt"], "line 1: got"),
        (["#bundle"], "no video is listed"),
    ],
)
def test_a_wrong_bundle_is_refused(folder, lines, message):
    write(folder / "splits" / "test.split1.bundle", *lines)
    with pytest.raises(AnnotationError, match=message):
        BreakfastFolder(folder).videos("val", 1)


def test_an_unknown_subset_split_or_folder_is_named(folder):
    breakfast = BreakfastFolder(folder)
    with pytest.raises(AnnotationError, match=r"Unknown subset 'test'\. Known: train, val"):
        breakfast.videos("test", 1)
    with pytest.raises(AnnotationError, match=r"test\.split9\.bundle: cannot be read"):
        breakfast.videos("val", 9)
    with pytest.raises(AnnotationError, match="found nothing, expected a folder"):
        BreakfastFolder(folder / "nowhere")
    with pytest.raises(AnnotationError, match="found a file, expected a folder"):
        BreakfastFolder(folder / "mapping.txt")


def test_labels_of_a_prediction_are_read_by_the_same_rules(tmp_path):
    path = write(tmp_path / "p.txt", "x", "y")
    assert read_labels(path, {"y": 4, "x": 9}).tolist() == [9, 4]
