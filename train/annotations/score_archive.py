"""Submissions that are one npz file with a score array per video.

Arrays in, file out, one video in memory at a time; and back, with every way a file can be wrong
turned into a sentence.
"""

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.reading import check_ids
from train.npz import add_array

__all__ = ["ScoreArchive", "open_score_archive", "write_score_archive"]

Scores = NDArray[np.floating[Any]]


def write_score_archive(path: Path, arrays: Iterable[tuple[str, Scores]]) -> None:
    """Write (video, scores) pairs as an uncompressed npz file that ``numpy.load`` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for video_id, scores in arrays:
            add_array(archive, video_id, scores)


class ScoreArchive:
    """An open submission file."""

    def __init__(self, path: Path, arrays: "np.lib.npyio.NpzFile") -> None:
        self._path = path
        self._arrays = arrays

    def check_videos(self, expected: Collection[str]) -> None:
        """Refuse a file whose videos are not exactly the expected ones.

        Raises:
            AnnotationError: The file is empty, or a video is unknown or missing.
        """
        found = set(self._arrays.files)
        if not found:
            raise AnnotationError(f"{self._path}: the file holds no array, expected one per video.")
        check_ids(self._path, "video", found, sorted(expected), known_as="annotated videos")

    def read(self, video_id: str, shape: tuple[int, int]) -> Scores:
        """Return the scores of one video.

        Raises:
            AnnotationError: Bytes are damaged, or shape, type or a value is wrong.
        """
        try:
            scores = self._arrays[video_id]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise AnnotationError(
                f"{self._path}: the array of video '{video_id}' cannot be read ({error}). "
                "Write the file again."
            ) from error
        what = f"{self._path}: the array of video '{video_id}'"
        if not np.issubdtype(scores.dtype, np.floating):
            raise AnnotationError(f"{what} is {scores.dtype}, expected floating point numbers.")
        if scores.shape != shape:
            raise AnnotationError(f"{what} has shape {scores.shape}, expected {shape}.")
        if not np.isfinite(scores).all():
            row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
            got = f"{scores[row, column]} at {(row, column)}"
            raise AnnotationError(f"{what} holds {got}, expected finite numbers.")
        return scores


@contextmanager
def open_score_archive(path: Path) -> Iterator[ScoreArchive]:
    """Open a submission file for the time of a ``with`` block.

    Raises:
        AnnotationError: The file is missing, or is not a whole npz file.
    """
    with ExitStack() as stack:
        try:
            # numpy.load(path) leaves the file open where it is no archive.
            file = stack.enter_context(path.open("rb"))
            archive = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise AnnotationError(
                f"{path}: cannot be read as an npz file ({error}), expected one array per video."
            ) from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise AnnotationError(f"{path}: holds a single array, expected an npz file.")
        yield ScoreArchive(path, stack.enter_context(archive))
