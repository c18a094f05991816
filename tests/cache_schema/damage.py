"""Stores of several streams and parts to be damaged, and what a reader may get from them after."""

from contextlib import suppress

import numpy as np

from cache_schema.errors import StoreError
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_times

STREAMS = {"flat": (8,), "grid": (2, 3)}
SOURCE = "/models/clip"
SEALED = ("a", "b", "c", "d")
OPEN = ("p", "q", "r", "s")
"""Videos of a part whose writer was killed; Zarr only."""


def rows_of(video, stream):
    number = ord(video) - ord("a")
    seed = 2 * number + (stream == "grid")
    return make_rows(9 + 5 * number, STREAMS[stream], seed=seed)


def write_session(path, videos, *, is_killed=False):
    """Add videos to every stream; a Zarr writer that is killed leaves a part unsealed."""
    writer = create_store(path)
    for name, row_shape in STREAMS.items():
        recipe = make_recipe(encoder_id=name)
        stream = writer.stream(name, recipe, row_shape, encoder_source=SOURCE)
        for video in videos:
            add_video(stream, video, rows_of(video, name))
        if is_killed:
            stream._part.leave()
            stream._part = None
    writer.close()


def write_zarr(path):
    write_session(path, SEALED)
    write_session(path, OPEN, is_killed=True)


def zarr_files(store):
    """Return every file by a name without the part's id, which differs from run to run."""
    names = {}
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        parts = list(path.relative_to(store).parts)
        if len(parts) > 3:
            is_sealed = (store.joinpath(*parts[:3]) / "commits.copy").exists()
            parts[2] = "sealed" if is_sealed else "open"
        names["/".join(parts)] = path
    return names


def flip_bit(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def reports(path):
    """Tell whether a verification ends with exit code 1: problems, or one sentence for all."""
    try:
        return bool(verify_store(path).problems)
    except StoreError as error:
        return error.exit_code == 1


def videos_read_wrong(path):
    """Read all that can be read; return (stream, video) of what differs from what was committed.

    Anything but a ``StoreError`` on the way is a traceback for a user, and fails the test.
    """
    wrong = []
    with suppress(StoreError):
        for stream in open_store(path).streams.values():
            for video in stream.video_ids:
                with suppress(StoreError):
                    found, expected = stream.read(video), rows_of(video, stream.name)
                    times_R2 = make_times(len(expected))
                    if not (same(found.values, expected) and same(found.times_R2, times_R2)):
                        wrong.append((stream.name, video))
    return wrong


def same(found, expected):
    return found.dtype == expected.dtype and np.array_equal(found, expected)
