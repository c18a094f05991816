"""Breakfast's original coarse annotations: one segment per line.

    <activity>/P03_cam01_P03_cereals.txt   "1-30 SIL" per line: first and last label frame, and the
                                           label; frames count from 1, both ends included, and a
                                           few lines such as "1-0 SIL" are of no frame
    mapping.txt                            "<id> <name>" per line (optional), else labels are sorted

Folder in, class names, video lists and class ids per label frame out. The splits are the dataset's:
four groups of participants. MS-TCN's release is made of the same segments; its files are a few
frames shorter, as its features are.
"""

import re
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.parsing import nearest
from train.annotations.breakfast import read_mapping
from train.annotations.reading import check_subset, line_error, read_lines

__all__ = ["BreakfastCoarse", "is_coarse"]

VIDEO = re.compile(r"P(\d\d)_[a-z]+\d\d_P\1_[a-z]+")
LINE = re.compile(r"(\d+)-(\d+)\s+(\S+)", re.ASCII)
TEST_PARTICIPANTS = {1: range(3, 16), 2: range(16, 29), 3: range(29, 42), 4: range(42, 55)}
"""Of each split; the other participants are trained on."""

Segment = tuple[int, int, str]
"""First frame, the one behind the last, both from 0, and label."""


def is_coarse(folder: Path) -> bool:
    """Tell a folder of these files from one in MS-TCN's layout."""
    if (folder / "groundTruth").is_dir():
        return False
    return any(VIDEO.fullmatch(path.stem) for path in folder.rglob("*.txt"))


class BreakfastCoarse:
    """One annotation folder; files are read when asked for."""

    test_splits = tuple(TEST_PARTICIPANTS)

    def __init__(self, folder: Path) -> None:
        """Find the files.

        Args:
            folder: That of the activities' folders, or one above it.
        """
        self._folder = folder
        paths = sorted(folder.rglob("*.txt"), key=lambda path: path.stem)
        self._paths = {path.stem: path for path in paths if VIDEO.fullmatch(path.stem)}

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Those of mapping.txt, or the labels of all videos, sorted."""
        mapping = self._folder / "mapping.txt"
        if mapping.exists():
            return read_mapping(mapping)
        segments = chain.from_iterable(map(_read_segments, self._paths.values()))
        return tuple(sorted({label for _, _, label in segments}))

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """Name -> id."""
        return {name: index for index, name in enumerate(self.class_names)}

    def videos(self, subset: str, split: int) -> list[str]:
        """Return the videos of one side of one split, sorted.

        Raises:
            AnnotationError: No such subset or split, or it has no video.
        """
        is_test = check_subset(subset) == "val"
        if split not in TEST_PARTICIPANTS:
            raise AnnotationError(f"{self._folder}: there is no split {split}, expected 1 to 4.")
        tested = TEST_PARTICIPANTS[split]
        videos = [one for one in self._paths if (int(one[1:3]) in tested) == is_test]
        if not videos:
            raise AnnotationError(f"{self._folder}: no {subset} video of split {split} is here.")
        return videos

    def labels(self, video_id: str) -> NDArray[np.int64]:
        """Return the class id of every label frame of a video, shape (label frames,).

        Raises:
            AnnotationError: There is no such file, or it is wrong.
        """
        path = self._paths.get(video_id)
        if path is None:
            hint = nearest(video_id, list(self._paths))
            raise AnnotationError(f"{self._folder}: holds no video '{video_id}'. {hint}")
        segments = _read_segments(path)
        labels_F = np.empty(segments[-1][1], np.int64)
        for first, stop, label in segments:
            if label not in self.class_ids:
                hint = nearest(label, list(self.class_ids))
                raise AnnotationError(f"{path}: label '{label}' is not in mapping.txt. {hint}")
            labels_F[first:stop] = self.class_ids[label]
        return labels_F

    @staticmethod
    def record_ends(video_id: str, *, labelled_seconds: float) -> tuple[float, ...]:
        """Return when the labels of a video end, in seconds: its file is one record."""
        return (labelled_seconds,)


def _read_segments(path: Path) -> list[Segment]:
    """Return the segments of a file; each begins where the one before it ends."""
    segments: list[Segment] = []
    for number, text in enumerate(read_lines(path), start=1):
        match = LINE.fullmatch(text)
        if match is None:
            raise line_error(path, number, f"got '{text}', expected '<first>-<last> <label>'.")
        first, stop = int(match[1]) - 1, int(match[2])
        expected = segments[-1][1] if segments else 0
        if first != expected or stop < first:
            raise line_error(
                path, number, f"got '{text}', expected a segment that begins at {expected + 1}."
            )
        segments.append((first, stop, match[3]))
    return segments
