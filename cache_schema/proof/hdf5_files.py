"""Check what HDF5 keeps around the rows of a file: journals to their end, and what h5py reads."""

import re
from collections.abc import Iterator
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.hdf5_backend.reader import behind_commits, read_commits, stream_rows
from cache_schema.hdf5_backend.rows import Hdf5File, look
from cache_schema.proof.foreign import differences_near
from cache_schema.proof.report import Problem
from cache_schema.records import torn_line
from cache_schema.store import Store
from cache_schema.stream import Stream, StreamPart

__all__ = ["hdf5_problems"]

STORE_ID = re.compile(r"[0-9a-f]{16}")


def hdf5_problems(path: Path, store: Store) -> Iterator[Problem]:
    """Yield what is wrong with a file, and where plain HDF5 reads other rows than we do."""
    try:
        yield from look(path, lambda file: list(_file_problems(path, store, file)))
    except StoreCorruptError as error:
        yield Problem(what=str(error))


def _file_problems(path: Path, store: Store, file: Hdf5File) -> Iterator[Problem]:
    stored_id = file.attrs["store_id"]
    if not STORE_ID.fullmatch(str(stored_id)):
        yield Problem(what=f"{path}: store_id is {stored_id!r}, expected 16 hex digits")
    for stream in store.streams.values():
        for what in _stream_problems(path, stream, file):
            yield Problem(stream=stream.name, what=what)
        for part in stream.parts:
            for what in _row_problems(stream, part, file):
                yield Problem(stream=stream.name, part=part.id, what=what)


def _stream_problems(path: Path, stream: Stream, file: Hdf5File) -> Iterator[str]:
    group = file[stream.name]
    commits = read_commits(group, stream_rows(path, group, stream.recipe.store_dtype))
    if what := torn_line(behind_commits(group, commits)):
        yield f"{path}: /{stream.name}/{layout.COMMITS}: {what}"


def _row_problems(stream: Stream, part: StreamPart, file: Hdf5File) -> Iterator[str]:
    for name in (layout.FEATURES, layout.TIME):
        dataset = file[stream.name][name]
        if len(dataset) < part.commits.end_row:
            yield f"{name}: has {len(dataset)} rows, committed are {part.commits.end_row}"
            continue
        yield from differences_near(dataset, name, stream, part, "h5py")
