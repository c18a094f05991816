import json
from fractions import Fraction

import pytest

from cache_schema.errors import AnnotationError
from tests.train.annotations.annotation_folders import breakfast_folder, write
from train.annotations.breakfast import BreakfastFolder
from train.annotations.breakfast_coarse import BreakfastCoarse
from train.annotations.opening import open_labels
from train.tasks import load_task

TEA = "P03_cam01_P03_tea"
MILK = "P16_webcam02_P16_milk"
SALAT = "P54_stereo01_P54_salat"


@pytest.fixture
def folder(tmp_path):
    """Three videos of three splits, as the dataset's page ships them."""
    write(tmp_path / "tea" / f"{TEA}.txt", "1-3 SIL  ", "4-4 pour_water  ", "5-6 SIL")
    write(tmp_path / "milk" / f"{MILK}.txt", "1-2 pour_milk  ")
    write(tmp_path / "salat" / f"{SALAT}.txt", "1-1 SIL ", "2-5 cut_fruit ")
    return tmp_path


def test_both_ends_of_a_line_are_frames_of_its_label(folder):
    source = BreakfastCoarse(folder)
    assert source.class_names == ("SIL", "cut_fruit", "pour_milk", "pour_water")
    assert source.labels(TEA).tolist() == [0, 0, 0, 3, 0, 0]
    assert source.labels(SALAT).tolist() == [0, 1, 1, 1, 1]


def test_a_line_of_no_frame_as_some_files_have_it_labels_none(folder):
    path = folder / "tea" / f"{TEA}.txt"
    write(path, "1-0 SIL", "1-2 pour_water", "3-2 SIL", "3-3 pour_water", "4-3 SIL")
    assert BreakfastCoarse(folder).labels(TEA).tolist() == [3, 3, 3]


def test_the_splits_are_groups_of_participants(folder):
    source = BreakfastCoarse(folder)
    assert source.videos("val", 1) == [TEA]
    assert source.videos("train", 1) == [MILK, SALAT]
    assert source.videos("val", 2) == [MILK]
    assert source.videos("val", 4) == [SALAT]
    assert tuple(source.test_splits) == (1, 2, 3, 4)
    with pytest.raises(AnnotationError, match="no val video of split 3 is here"):
        source.videos("val", 3)
    with pytest.raises(AnnotationError, match="there is no split 5, expected 1 to 4"):
        source.videos("val", 5)


def test_a_mapping_beside_them_numbers_the_classes(folder):
    names = ["pour_water", "SIL", "cut_fruit", "pour_milk"]
    write(folder / "mapping.txt", *(f"{index} {name}" for index, name in enumerate(names)))
    assert BreakfastCoarse(folder).labels(TEA).tolist() == [1, 1, 1, 0, 1, 1]
    write(folder / "mapping.txt", "0 SIL")
    with pytest.raises(AnnotationError, match=r"tea\.txt: label 'pour_water' is not in mapping"):
        BreakfastCoarse(folder).labels(TEA)


def test_the_layout_is_told_by_the_files(folder, tmp_path):
    fps = Fraction(15)
    assert isinstance(open_labels(folder, fps), BreakfastCoarse)
    assert isinstance(open_labels(folder / "tea", fps), BreakfastCoarse)
    released = breakfast_folder(tmp_path / "ms-tcn", {TEA: ["SIL"]}, train=[TEA], test=[TEA])
    assert isinstance(open_labels(released, fps), BreakfastFolder)


def test_copies_and_notes_are_no_videos(folder):
    write(folder / "tea" / f"{TEA} 2.txt", "1-1 pour_coffee")
    write(folder / "readme.txt", "labels")
    assert BreakfastCoarse(folder).videos("val", 1) == [TEA]
    assert "pour_coffee" not in BreakfastCoarse(folder).class_names


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1-3 SIL", "5-6 SIL"], "line 2: got '5-6 SIL', expected a segment that begins at 4"),
        (["2-3 SIL"], "line 1: got '2-3 SIL', expected a segment that begins at 1"),
        (["1-3 SIL", "4-2 SIL"], "line 2: got '4-2 SIL', expected a segment that begins at 4"),
        (["1:3 SIL"], "line 1: got '1:3 SIL', expected '<first>-<last> <label>'"),
    ],
)
def test_a_wrong_line_is_named(folder, lines, message):
    write(folder / "tea" / f"{TEA}.txt", *lines)
    with pytest.raises(AnnotationError, match=message):
        BreakfastCoarse(folder).labels(TEA)


def test_an_unknown_video_is_named(folder):
    with pytest.raises(AnnotationError, match=f"no video 'P03_cam01_P03_te'. .*'{TEA}'"):
        BreakfastCoarse(folder).labels("P03_cam01_P03_te")


def test_the_task_scores_a_perfect_prediction(folder, tmp_path):
    task = load_task("action_segmentation", folder, {"split": 4})
    (sample,) = task.samples("val")
    assert sample.record_ends == (pytest.approx(5 / 15),)
    names = BreakfastCoarse(folder).class_names
    write(tmp_path / "p" / f"{SALAT}.txt", *(names[one] for one in sample.target))
    assert task.score(tmp_path / "p")["Acc"] == 100.0
    assert json.dumps(task.answers.labels()["current"]) == json.dumps(names)
