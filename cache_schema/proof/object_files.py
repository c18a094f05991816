"""Check every object around the rows of a store in a bucket, and find what killed writers left."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.rows import shard_key
from cache_schema.proof.report import Problem
from cache_schema.proof.zarr_files import document_problem
from cache_schema.records import RESTORE, parse_object
from cache_schema.store import Store
from cache_schema.stream import Stream, StreamPart
from cache_schema.zarr_backend.headers import StreamHeader, attributes_of, part_attributes
from cache_schema.zarr_backend.seal import array_documents, parse_copy
from cache_schema.zarr_backend.shard import shard_end

__all__ = ["leftovers", "object_problems"]


def object_problems(bucket: Bucket, store: Store) -> Iterator[Problem]:
    """Yield what is wrong with a store's objects, but for what opening it has found already."""
    yield from map(_of_store, _group_problems(bucket, [layout.ZARR_JSON]))
    for stream in store.streams.values():
        folder = f"{stream.name}/{layout.PARTS}"
        headers = [f"{stream.name}/{layout.ZARR_JSON}", f"{folder}/{layout.ZARR_JSON}"]
        for what in _group_problems(bucket, headers[: 1 + bool(stream.parts)]):
            yield Problem(stream=stream.name, what=what)
        sizes = {key: one.num_bytes for key, one in bucket.objects(folder).items()}
        for part in stream.parts:
            for what in _part_problems(bucket, stream, part, sizes):
                yield Problem(stream=stream.name, part=part.id, what=what)


def leftovers(bucket: Bucket, store: Store) -> Iterator[Problem]:
    """Yield one note for each stream that has parts without a commit.

    A living writer is putting them, or a killed one left them.
    """
    for stream in store.streams.values():
        folder, known = f"{stream.name}/{layout.PARTS}", {part.id for part in stream.parts}
        others = [part for part in bucket.folders(folder) if part not in known]
        journals = bucket.get_many(f"{folder}/{part}/{layout.COMMITS}" for part in others)
        begun = [part for part, data in zip(others, journals, strict=True) if data is None]
        if begun:
            what = (
                f"parts without a commit: {len(begun)}, such as {begun[0]}; each is being written, "
                "or is what a killed writer left, which vllm-store compact takes away"
            )
            yield Problem(stream=stream.name, what=what)


def _of_store(what: str) -> Problem:
    return Problem(what=what)


def _group_problems(bucket: Bucket, keys: list[str]) -> Iterator[str]:
    for key, data in zip(keys, bucket.get_many(keys), strict=True):
        where = f"{bucket.address}/{key}"
        try:
            document = _document(data, where)
        except StoreCorruptError as error:
            yield str(error)
            continue
        if what := document_problem(document, where):
            yield what


def _part_problems(
    bucket: Bucket, stream: Stream, part: StreamPart, sizes: Mapping[str, int]
) -> Iterator[str]:
    folder = f"{stream.name}/{layout.PARTS}/{part.id}"
    header, rows = StreamHeader.of(stream), part.commits.end_row
    names = [
        layout.COMMITS,
        layout.COMMITS_COPY,
        layout.ZARR_JSON,
        *(f"{array}/{layout.ZARR_JSON}" for array in (layout.FEATURES, layout.TIME)),
    ]
    keys = [f"{folder}/{name}" for name in names]
    found = dict(zip(names, bucket.get_many(keys), strict=True))
    journal = found[layout.COMMITS]
    if journal is None:
        return  # it is being removed
    expected = {
        layout.ZARR_JSON: part_attributes(rows, journal),
        **{
            f"{name}/{layout.ZARR_JSON}": text
            for name, text in array_documents(header, rows).items()
        },
    }
    for name, document in expected.items():
        yield from _document_problems(f"{bucket.address}/{folder}/{name}", found[name], document)
    yield from _copy_problems(
        f"{bucket.address}/{folder}/{layout.COMMITS_COPY}",
        found[layout.COMMITS_COPY],
        header,
        journal,
    )
    yield from _shard_problems(bucket, folder, header, rows, sizes)


def _document_problems(
    where: str, data: bytes | None, expected: Mapping[str, object]
) -> Iterator[str]:
    """Compare a ``zarr.json`` with the array's it should be, or a group's attributes."""
    try:
        document = _document(data, where)
        if "node_type" not in expected:
            if what := document_problem(document, where):
                yield what
                return
            document = attributes_of(document, where)
    except StoreCorruptError as error:
        yield str(error)
        return
    if document != expected:
        yield f"{where}: differs from the one that its part's journal needs. {RESTORE}"


def _copy_problems(
    where: str, data: bytes | None, header: StreamHeader, journal: bytes
) -> Iterator[str]:
    if data is None:
        yield f"{where}: is gone. {RESTORE}"
        return
    try:
        copied = parse_copy(data, where)
    except StoreCorruptError as error:
        yield str(error)
        return
    if copied != (header, journal):
        yield f"{where}: is not what the part was put with. {RESTORE}"


def _shard_problems(
    bucket: Bucket, folder: str, header: StreamHeader, rows: int, sizes: Mapping[str, int]
) -> Iterator[str]:
    itemsize = np.dtype(layout.STORED_DTYPE[header.recipe.store_dtype]).itemsize
    shards = {
        shard_key(folder, layout.FEATURES, ndim=1 + len(header.row_shape)): itemsize
        * math.prod(header.row_shape),
        shard_key(folder, layout.TIME, ndim=2): 16,
    }
    for key, row_bytes in shards.items():
        end = shard_end(rows, row_bytes)
        size = rows * row_bytes + len(end)
        if sizes.get(key) != size:
            yield f"{bucket.address}/{key}: has {sizes.get(key, 0)} bytes, expected {size}"
        elif bucket.get_range(key, rows * row_bytes, size) != end:
            yield f"{bucket.address}/{key}: shard index or padding differs from what its rows need"


def _document(data: bytes | None, where: str) -> dict[str, object]:
    if data is None:
        raise StoreCorruptError(f"{where}: is gone. {RESTORE}")
    return parse_object(data, where=where)
