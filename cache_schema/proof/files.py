"""Check the files around the rows: would a foreign Zarr or HDF5 reader see what ours does?"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.hdf5_backend.rows import open_for_reading
from cache_schema.records import json_object
from cache_schema.store import is_hdf5
from cache_schema.stream import Array, Stream, StreamPart
from cache_schema.zarr_backend.rows import shard_path
from cache_schema.zarr_backend.shard import index_bytes, num_chunks, shard_metadata

__all__ = ["hdf5_problems", "stored_fingerprint", "zarr_problems"]

SAMPLED_WINDOWS = 16
"""Windows of a part that are compared through the foreign library."""


def stored_fingerprint(path: Path, stream: str) -> object:
    """Return the fingerprint written beside a stream's recipe."""
    if is_hdf5(path):
        with open_for_reading(path) as file:
            return file[stream].attrs.get("fingerprint")
    attributes = json_object(path / stream / layout.ZARR_JSON).get("attributes")
    return attributes.get("fingerprint") if isinstance(attributes, dict) else None


def hdf5_problems(path: Path, stream: Stream, part: StreamPart) -> Iterator[str]:
    """Yield where plain HDF5 reads other rows than we do."""
    with open_for_reading(path) as file:
        for name in (layout.FEATURES, layout.TIME):
            dataset = file[stream.name][name]
            if len(dataset) < _end_row(part):
                yield f"{name}: has {len(dataset)} rows, committed are {_end_row(part)}"
                continue
            yield from _compare(dataset, name, stream, part, "h5py")


def zarr_problems(path: Path, stream: Stream, part: StreamPart) -> Iterator[str]:
    """Yield what is wrong with a part's files, and where plain Zarr reads other rows than we do."""
    folder = path / stream.name / layout.PARTS / part.id
    is_sealed = (folder / layout.ZARR_JSON).exists()
    if is_sealed:
        yield from _group_problems(folder, part)
    dtype = layout.STORED_DTYPE[stream.recipe.store_dtype]
    for name, row_shape, item in (
        (layout.FEATURES, stream.row_shape, dtype),
        (layout.TIME, (2,), "float64"),
    ):
        found = list(_shard_problems(folder, name, row_shape, item, _end_row(part), is_sealed))
        yield from found
        if is_sealed and not found:
            yield from _zarr_differences(folder, name, stream, part)


def _group_problems(folder: Path, part: StreamPart) -> Iterator[str]:
    try:
        attributes = json_object(folder / layout.ZARR_JSON).get("attributes")
    except StoreCorruptError as error:
        yield str(error)
        return
    if attributes != {"num_rows": _end_row(part)}:
        yield f"zarr.json: attributes are {attributes}, committed are {_end_row(part)} rows"


def _shard_problems(
    folder: Path, name: str, row_shape: tuple[int, ...], dtype: str, rows: int, is_sealed: bool
) -> Iterator[str]:
    path = shard_path(folder, name, ndim=1 + len(row_shape))
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(row_shape))
    size = path.stat().st_size if path.exists() else 0
    if not is_sealed:
        if size < rows * row_bytes:
            yield f"{name}: file has {size} bytes, committed are {rows * row_bytes}"
        return
    index = index_bytes(rows, row_bytes)
    expected = num_chunks(rows) * layout.CHUNK_ROWS * row_bytes + len(index)
    if size != expected:
        yield f"{name}: sealed file has {size} bytes, expected {expected}"
    elif _tail(path, len(index)) != index:
        yield f"{name}: shard index differs from the one its rows need"
    try:
        metadata: object = json_object(folder / name / layout.ZARR_JSON)
    except (FileNotFoundError, StoreCorruptError) as error:
        metadata = str(error)
    if metadata != shard_metadata(rows, row_shape, dtype):
        yield f"{name}: zarr.json differs from the one its rows need"


def _zarr_differences(folder: Path, name: str, stream: Stream, part: StreamPart) -> Iterator[str]:
    import zarr  # here, because it takes a second to import and an unsealed part does not need it

    array = zarr.open_array(str(folder / name), mode="r")
    yield from _compare(array, name, stream, part, "zarr-python")


def _compare(
    array: object, name: str, stream: Stream, part: StreamPart, library: str
) -> Iterator[str]:
    """Compare windows spread evenly over a part, the first and the last row among them."""
    end = _end_row(part)
    width = min(layout.CHUNK_ROWS, end)
    for first_row in np.unique(np.linspace(0, end - width, SAMPLED_WINDOWS).astype(int)).tolist():
        ours = _our_rows(name, stream, part, first_row, width)
        theirs = np.asarray(array[first_row : first_row + width])  # type: ignore[index]
        if theirs.dtype != ours.dtype or theirs.tobytes() != ours.tobytes():
            yield f"{name}: {library} reads other rows than we do near row {first_row}"
            return


def _our_rows(name: str, stream: Stream, part: StreamPart, first_row: int, count: int) -> Array:
    if name == layout.TIME:
        return part.rows.time(first_row, count)
    values = np.empty((count, *stream.row_shape), stream.numpy_dtype)
    part.rows.copy_features(first_row, values)
    return values


def _end_row(part: StreamPart) -> int:
    return max(commit.first_row + commit.num_rows for commit in part.commits)


def _tail(path: Path, num_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-num_bytes, os.SEEK_END)
        return file.read()
