"""Breakfast's layout of frame labels, as MS-TCN's data release made it common.

    mapping.txt                         "<id> <name>" per line
    groundTruth/<video>.txt             one label name per line and label frame
    splits/{train,test}.split<N>.bundle one "<video>.txt" per line

Folder in, class names, video lists and class ids per label frame out.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.parsing import nearest
from train.annotations.reading import check_folder, check_subset, line_error, read_lines

__all__ = ["BreakfastFolder", "read_labels", "read_mapping"]

BUNDLE_SUBSETS = {"train": "train", "val": "test"}
"""The dataset has no validation split: its test splits are what papers report."""


class BreakfastFolder:
    """One annotation folder; files are read when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = check_folder(folder)
        self.class_names = read_mapping(folder / "mapping.txt")
        self.class_ids = {name: index for index, name in enumerate(self.class_names)}

    @property
    def test_splits(self) -> list[int]:
        """Return the numbers of the test splits there are, ascending."""
        names = (path.name for path in (self._folder / "splits").glob("test.split*.bundle"))
        matches = (re.fullmatch(r"test\.split(\d+)\.bundle", name) for name in names)
        return sorted(int(match[1]) for match in matches if match)

    def videos(self, subset: str, split: int) -> list[str]:
        """Return the videos of one side of one split, in the order of its file.

        Raises:
            AnnotationError: No such subset or split, a video listed twice, or a line that is no
                ``<video>.txt``.
        """
        side = BUNDLE_SUBSETS[check_subset(subset)]
        path = self._folder / "splits" / f"{side}.split{split}.bundle"
        videos: dict[str, int] = {}
        for number, text in enumerate(read_lines(path), start=1):
            # Some releases open with "#bundle" and list paths of the machine they were made on.
            if text.startswith("#"):
                continue
            video_id = _video_id(path, number, text)
            if video_id in videos:
                message = f"video '{video_id}' is listed already in line {videos[video_id]}."
                raise line_error(path, number, message)
            videos[video_id] = number
        if not videos:
            raise AnnotationError(f"{path}: no video is listed, expected '<video>.txt' per line.")
        return list(videos)

    def labels(self, video_id: str) -> NDArray[np.int64]:
        """Return the class id of every label frame of a video, shape (label frames,).

        Raises:
            AnnotationError: The file is missing or holds a label that mapping.txt lacks.
        """
        return read_labels(self._folder / "groundTruth" / f"{video_id}.txt", self.class_ids)

    @staticmethod
    def record_ends(video_id: str, *, labelled_seconds: float) -> tuple[float, ...]:
        """Return when the labels of a video end, in seconds: its file is one record."""
        return (labelled_seconds,)


def read_labels(path: Path, class_ids: dict[str, int]) -> NDArray[np.int64]:
    """Return the class id of every line of a label file, shape (lines,).

    Raises:
        AnnotationError: The file is missing or empty, or a label is unknown.
    """
    lines = read_lines(path)
    try:
        return np.array([class_ids[name] for name in lines], dtype=np.int64)
    except KeyError:
        index, name = next((i, name) for i, name in enumerate(lines) if name not in class_ids)
        message = f"label '{name}' is not in mapping.txt. {nearest(name, list(class_ids))}"
        raise line_error(path, index + 1, message) from None


def read_mapping(path: Path) -> tuple[str, ...]:
    """Return the class names by id; ids must run from 0 without a gap.

    Raises:
        AnnotationError: The file is missing, or a line or an id is wrong.
    """
    names: dict[int, str] = {}
    for line_number, line in enumerate(read_lines(path), start=1):
        number, _, name = line.partition(" ")
        if not (number.isascii() and number.isdigit() and name.strip()):
            raise line_error(path, line_number, f"got '{line}', expected '<id> <name>'.")
        if int(number) in names or name.strip() in names.values():
            raise line_error(path, line_number, f"got '{line}', but this id or name occurs above.")
        names[int(number)] = name.strip()
    missing = set(range(len(names))) - set(names)
    if missing:
        raise AnnotationError(f"{path}: id {min(missing)} is missing, expected 0, 1, 2 ...")
    return tuple(names[index] for index in range(len(names)))


def _video_id(path: Path, line_number: int, text: str) -> str:
    """Return the video of a bundle's line: the last part of its path, without ``.txt``."""
    name = text.replace("\\", "/").rsplit("/", 1)[-1]
    video_id = name.removesuffix(".txt")
    if name == video_id or not video_id.strip("."):
        raise line_error(path, line_number, f"got '{text}', expected '<video>.txt'.")
    return video_id
