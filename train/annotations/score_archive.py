"""Submissions that are one npz file with a score array per video.

Arrays in, file out, one video in memory at a time; and back, with every way a file can be wrong
turned into a sentence.
"""

import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
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


LOCAL_HEADER = struct.Struct("<26xHH")
"""In a zip file before a member: lengths of the name and of the extra field that follow it."""
PLAIN_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""Of arrays, by the version of their format."""


class ScoreArchive:
    """An open submission file."""

    def __init__(self, path: Path, file: BufferedReader, arrays: "np.lib.npyio.NpzFile") -> None:
        self._path = path
        self._file = file
        self._arrays = arrays
        self._buffer = np.zeros(0, np.uint8)
        self._checked: set[str] = set()

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
        """Return the scores of one video; they are gone when the next ones are read.

        What has been checked once is not checked again: files of 20 GB are read twice.

        Raises:
            AnnotationError: Bytes are damaged, or shape, type or a value is wrong.
        """
        try:
            scores = self._read(video_id)
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise AnnotationError(
                f"{self._path}: the array of video '{video_id}' cannot be read ({error}). "
                "Write the file again."
            ) from error
        if video_id not in self._checked:
            self._check(video_id, scores, shape)
        return scores

    def _check(self, video_id: str, scores: Scores, shape: tuple[int, int]) -> None:
        what = f"{self._path}: the array of video '{video_id}'"
        if not np.issubdtype(scores.dtype, np.floating):
            raise AnnotationError(f"{what} is {scores.dtype}, expected floating point numbers.")
        if scores.shape != shape:
            raise AnnotationError(f"{what} has shape {scores.shape}, expected {shape}.")
        # A sum is not finite if a value is not, and takes no memory; a large one need not be.
        with np.errstate(over="ignore", invalid="ignore"):
            is_doubtful = not np.isfinite(scores.sum())
        if is_doubtful and not np.isfinite(scores).all():
            row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
            got = f"{scores[row, column]} at {(row, column)}"
            raise AnnotationError(f"{what} holds {got}, expected finite numbers.")
        self._checked.add(video_id)

    def _read(self, video_id: str) -> Scores:
        """Read as ``numpy.load`` does, but an uncompressed array at once into memory of before."""
        assert self._arrays.zip is not None, "it is open"
        member = self._arrays.zip.getinfo(f"{video_id}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            found: Scores = self._arrays[video_id]
            return found
        self._file.seek(member.header_offset)
        skipped = LOCAL_HEADER.unpack(self._file.read(LOCAL_HEADER.size))
        first = self._file.seek(sum(skipped), 1)
        version = np.lib.format.read_magic(self._file)
        shape, is_fortran, dtype = PLAIN_HEADERS[version](self._file)
        if dtype.hasobject:
            raise ValueError("it holds pickled objects")
        start = self._file.tell()
        num_bytes = dtype.itemsize * int(np.prod(shape))
        if len(self._buffer) < num_bytes:
            self._buffer = np.empty(num_bytes, np.uint8)
        values = self._buffer[:num_bytes]
        if self._file.readinto(values.data) < num_bytes:
            raise EOFError("it is cut short")
        if video_id not in self._checked:
            self._file.seek(first)
            head = self._file.read(start - first)
            if (len(head) + num_bytes, zlib.crc32(values.data, zlib.crc32(head))) != (
                member.file_size,
                member.CRC,
            ):
                raise zipfile.BadZipFile("its checksum is another one")
        return values.view(dtype).reshape(shape, order="F" if is_fortran else "C")


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
        yield ScoreArchive(path, file, stack.enter_context(archive))
