"""The output folder and the command: same arguments same files, nothing foreign is touched."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from demo.folder import DemoFolderError, write_demo
from demo.generate import main
from demo.truth import SMALL_SPEC

TINY = replace(SMALL_SPEC, train_videos=1, seconds=4)


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def pixels(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_equal_arguments_give_equal_files(small_set: Path, tmp_path: Path) -> None:
    made = list(write_demo(tmp_path / "again", SMALL_SPEC))
    assert [video.video_id for video in made][:2] == ["P01_01", "P01_02"]
    assert files(tmp_path / "again") == files(small_set)


def test_a_second_run_into_the_same_folder_changes_nothing(tmp_path: Path) -> None:
    list(write_demo(tmp_path, TINY))
    before = files(tmp_path)
    list(write_demo(tmp_path, TINY))
    assert files(tmp_path) == before


def test_another_seed_gives_other_labels_and_other_pixels(tmp_path: Path) -> None:
    list(write_demo(tmp_path / "a", TINY))
    list(write_demo(tmp_path / "b", replace(TINY, seed=1)))
    name = "annotations/action_segmentation/groundTruth/P01_01.txt"
    assert (tmp_path / "a" / name).read_text() != (tmp_path / "b" / name).read_text()
    first, second = (pixels(tmp_path / x / "videos/P01_01.mp4") for x in "ab")
    assert first.shape == second.shape == (60, 72, 96, 3)
    assert np.abs(first.astype(int) - second).mean() > 10


def test_videos_have_the_declared_frames_and_duration(small_set: Path) -> None:
    videos = sorted((small_set / "videos").iterdir())
    assert len(videos) == 6
    for path in videos:
        with av.open(path) as container:
            stream = container.streams.video[0]
            assert stream.frames == 120
            assert (stream.duration, stream.time_base) == (8 * 15360, Fraction(1, 15360))
            assert (stream.width, stream.height) == (96, 72)


def test_an_interrupted_set_is_finished_by_the_next_run(tmp_path: Path) -> None:
    list(write_demo(tmp_path / "whole", TINY))
    next(write_demo(tmp_path / "cut", TINY))  # stops after the first video
    assert len(files(tmp_path / "cut")) < len(files(tmp_path / "whole"))
    list(write_demo(tmp_path / "cut", TINY))
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DemoFolderError, match="not empty and no demo set"):
        list(write_demo(tmp_path, TINY))
    assert files(tmp_path) == {"thesis.txt": b"precious"}


def test_a_demo_set_made_otherwise_is_refused(tmp_path: Path) -> None:
    list(write_demo(tmp_path, TINY))
    with pytest.raises(DemoFolderError, match=r"'seed': 0.*not from.*'seed': 5"):
        list(write_demo(tmp_path, replace(TINY, seed=5)))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DemoFolderError, match="not empty and no demo set"):
        list(write_demo(tmp_path / "out", TINY))


def test_the_command_makes_what_its_options_say(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--small", "--train-videos", "1", "--seconds", "4", "--seed", "3"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "3 videos (12 s)" in result.output
    assert len(list((tmp_path / "videos").iterdir())) == 3
    assert '"seed": 3' in (tmp_path / "demo.json").read_text()


def test_the_command_ends_with_2_and_one_sentence_for_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    result = CliRunner().invoke(main, [str(tmp_path), "--small"])
    assert result.exit_code == 2
    assert "choose a new or empty folder" in result.output
    assert "Traceback" not in result.output
