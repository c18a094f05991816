"""Features of single frames in an LMDB database, one key for each: RULSTM's layout.

    <video>_frame_0000000001.jpg    D float32 numbers; the frames of a video count from 1

https://github.com/fpv-iplab/rulstm, ``RULSTM/dataset.py``.

Shapes: T frames of one video, D feature dim.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import SourceError

__all__ = ["database_videos", "read_frames"]

KEY = re.compile(rb"([ -~]+_frame_)(\d+)\.\w+")
BEHIND_DIGITS = b"\xff"


def database_videos(path: Path) -> list[str]:
    """Return the videos of a database; jumps from one to the next, whatever frames they have.

    Args:
        path: The database's file, such as ``data.mdb``.

    Raises:
        SourceError: if it cannot be read, or a key does not name a frame of a video.
    """
    videos: list[str] = []
    with _cursor(path) as cursor:
        found = cursor.first()
        while found:
            stem, _ = _parts(path, bytes(cursor.key()))
            videos.append(stem.removesuffix(b"_frame_").decode())
            found = cursor.set_range(stem + BEHIND_DIGITS)
    return videos


def read_frames(path: Path, video: str) -> NDArray[np.float32]:
    """Return the (T, D) features of a video's frames.

    Args:
        path: The database's file.
        video: One of its videos.

    Raises:
        SourceError: if a frame between the first and the last is missing: rows would be said to
            lie earlier than they do.
        ValueError: if values are no vectors of float32, or not all of one length.
    """
    stem = f"{video}_frame_".encode()
    frames: dict[int, NDArray[np.float32]] = {}
    with _cursor(path) as cursor:
        cursor.set_range(stem)
        for key, value in cursor:
            own_stem, number = _parts(path, bytes(key))
            if own_stem != stem:
                break
            frames[number] = np.frombuffer(value, np.dtype("<f4"))  # a view of the file
        missing = next((n for n in range(1, len(frames) + 1) if n not in frames), None)
        if missing is not None:
            raise SourceError(
                f"{path}: video '{video}' has {len(frames)} frames with numbers {min(frames)} to "
                f"{max(frames)}, but not number {missing}; they count from 1. Rows of some frames "
                "have no common rate: get the release with all of them (RULSTM's download scripts "
                "named 'full')."
            )
        return np.stack([frames[number] for number in range(1, len(frames) + 1)])


@contextmanager
def _cursor(path: Path) -> Iterator[Any]:
    """Open a database to read; what a cursor returns is valid until it is closed."""
    try:
        import lmdb
    except ImportError as error:
        raise SourceError(
            f"{path}: reading it needs the package lmdb: pip install 'video-feature-llm[lmdb]'."
        ) from error
    try:
        # Without the lock file: the folder may be read-only, and nobody writes to a release.
        with (
            lmdb.open(str(path), subdir=False, readonly=True, lock=False) as database,
            database.begin(buffers=True) as transaction,
        ):
            yield transaction.cursor()
    except lmdb.Error as error:
        raise SourceError(f"{path}: LMDB cannot read it: {error}.") from error


def _parts(path: Path, key: bytes) -> tuple[bytes, int]:
    """Return what keys of one video begin with, and the number of the frame."""
    match = KEY.fullmatch(key)
    if match is None:
        raise SourceError(
            f"{path}: holds the key {key.decode(errors='replace')!r}, expected keys such as "
            "'P01_01_frame_0000000001.jpg'. Only databases of frames can be imported."
        )
    return match[1], int(match[2])
