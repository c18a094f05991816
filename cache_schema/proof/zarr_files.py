"""Check every file around the rows of a Zarr store: would a Zarr reader see what ours does?"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import google_crc32c
import numpy as np

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.journal import Journal, decode_journal
from cache_schema.proof.foreign import differences_near
from cache_schema.proof.report import Problem
from cache_schema.proof.sealed_part import sealed_journal, sealed_source
from cache_schema.records import RESTORE, json_object, torn_line
from cache_schema.store import Store
from cache_schema.stream import Stream, StreamPart
from cache_schema.zarr_backend.headers import StreamHeader, read_attributes
from cache_schema.zarr_backend.reader import check_store, has_parts, part_folders
from cache_schema.zarr_backend.rows import shard_path
from cache_schema.zarr_backend.seal import array_documents, lost_its_seal, read_copy
from cache_schema.zarr_backend.shard import shard_end

__all__ = [
    "array_file",
    "document_problem",
    "group_problem",
    "is_sealed",
    "sealed_part_problems",
    "zarr_problems",
]


def zarr_problems(path: Path, store: Store) -> Iterator[Problem]:
    """Yield what is wrong with a store's files, but for what opening it has found already."""
    damages: list[StoreCorruptError] = []
    check_store(path, damages.append)
    if not damages and (what := group_problem(path)):
        yield Problem(what=what)
    for stream in store.streams.values():
        folder = path / stream.name
        headers = group_problem(folder), _parts_problem(folder), _source_problem(folder, stream)
        for what in filter(None, headers):
            yield Problem(stream=stream.name, what=what)
        opened = {part.id: part for part in stream.parts}
        for part in part_folders(folder):
            for what in _part_problems(part, stream, opened.get(part.name)):
                yield Problem(stream=stream.name, part=part.name, what=what)


def group_problem(folder: Path) -> str | None:
    """Say why the Zarr library could not take a folder for a group."""
    path = folder / layout.ZARR_JSON
    try:
        document = json_object(path)
    except StoreCorruptError as error:
        return str(error)
    return document_problem(document, str(path))


def document_problem(document: Mapping[str, object], where: str) -> str | None:
    """Say why the Zarr library could not take a document for that of a group."""
    found = document.get("zarr_format"), document.get("node_type")
    if found != (3, "group") or not isinstance(document.get("attributes"), dict):
        return (
            f"{where}: zarr_format is {found[0]!r}, node_type {found[1]!r}, attributes are "
            f"{document.get('attributes')!r:.60}; expected 3, 'group' and an object. {RESTORE}"
        )
    return None


def _parts_problem(stream: Path) -> str | None:
    """Check the header's copy; opening the stream has compared the two if both can be read."""
    folder = stream / layout.PARTS
    if not (folder / layout.ZARR_JSON).exists() and not has_parts(stream):
        return None  # its writer was killed right behind making the stream
    return group_problem(folder)


def _source_problem(folder: Path, stream: Stream) -> str | None:
    source = sealed_source(folder, StreamHeader.of(stream))
    if source in ("", stream.encoder_source):
        return None
    return (
        f"{folder / layout.ZARR_JSON}: {layout.ENCODER_SOURCE} is {stream.encoder_source!r}, its "
        f"parts were sealed with {source!r}. {RESTORE}"
    )


def _part_problems(part: Path, stream: Stream, opened: StreamPart | None) -> Iterator[str]:
    if is_sealed(part):
        yield from sealed_part_problems(part, StreamHeader.of(stream))
        if opened is not None:
            yield from _zarr_differences(part, stream, opened)
    else:
        rows = opened.commits.end_row if opened else 0
        yield from _unsealed_problems(part, StreamHeader.of(stream), rows)


def is_sealed(part: Path) -> bool:
    """Tell whether a part is sealed, or was and has lost the file that says so."""
    return (part / layout.ZARR_JSON).exists() or lost_its_seal(part)


def sealed_part_problems(part: Path, header: StreamHeader) -> Iterator[str]:
    """Yield what is wrong with the files of a sealed part, without reading its rows."""
    try:
        journal = (part / layout.COMMITS).read_bytes()
        commits, _ = decode_journal(journal, where=layout.COMMITS)
    except (FileNotFoundError, StoreCorruptError):
        return  # opening the store has found it, or the part is being removed
    if lost_its_seal(part):
        yield f"{part / layout.ZARR_JSON}: is gone, so no Zarr reader finds the part. {RESTORE}"
    else:
        yield from _seal_problems(part, header, commits, journal)
    rows = _sealed_rows(part, commits.end_row)
    for name in (layout.FEATURES, layout.TIME):
        yield from _array_problems(part, name, header, rows)


def _unsealed_problems(part: Path, header: StreamHeader, rows: int) -> Iterator[str]:
    """Yield what is wrong with a part of which readers see so many rows."""
    path = shard_path(part, layout.TIME, ndim=2)
    times_bytes = path.stat().st_size if path.exists() else 0  # before the journal, see below
    try:
        journal = (part / layout.COMMITS).read_bytes()
        commits, behind = decode_journal(journal, where=layout.COMMITS)
    except (FileNotFoundError, StoreCorruptError):
        return
    if what := torn_line(behind):
        yield f"{part / layout.COMMITS}: {what}"
    elif _has_lost_lines(path, commits.end_row, times_bytes):
        yield (
            f"{part / layout.COMMITS}: ends with row {commits.end_row}, and the times behind it "
            "are of more than one video; a killed writer leaves those of one. Lines are lost: "
            "restore the file, or extract again."
        )
    for name in (layout.FEATURES, layout.TIME):
        shard, row_bytes = array_file(part, name, header)
        size = shard.stat().st_size if shard.exists() else 0
        if size < rows * row_bytes:
            yield f"{name}: file has {size} bytes, committed are {rows * row_bytes}"


def _seal_problems(
    part: Path, header: StreamHeader, commits: Journal, journal: bytes
) -> Iterator[str]:
    """Compare the journal, its copy and the part's ``zarr.json``."""
    path = part / layout.ZARR_JSON
    if what := group_problem(part):
        yield what
        return
    attributes = read_attributes(part)
    rows = attributes.get(layout.NUM_ROWS)
    expected = {layout.NUM_ROWS: commits.end_row}
    if layout.COMMITS_CRC32C not in attributes:  # sealed before there were copies
        if attributes != expected:
            yield f"{path}: attributes are {attributes}, its journal's {expected}. {RESTORE}"
        return
    checksum = google_crc32c.value(journal)
    if attributes != {**expected, layout.COMMITS_CRC32C: checksum}:
        yield (
            f"{part / layout.COMMITS}: has {commits.end_row} rows and crc32c {checksum}, "
            f"zarr.json says {rows} and {attributes[layout.COMMITS_CRC32C]}. {RESTORE}"
        )
    try:
        copied_header, copy = read_copy(part)
    except StoreCorruptError as error:
        yield str(error)
        return
    if copied_header != header or google_crc32c.value(copy) != attributes[layout.COMMITS_CRC32C]:
        yield f"{part / layout.COMMITS_COPY}: is not what the part was sealed with. {RESTORE}"


def _sealed_rows(part: Path, num_rows: int) -> int:
    """Return the rows a part was sealed with, so that a bad journal is one problem and not five."""
    if (sealed := sealed_journal(part)) is not None:
        return sealed[0]
    try:
        stored = read_attributes(part).get(layout.NUM_ROWS)
    except StoreCorruptError:
        return num_rows
    return stored if type(stored) is int and stored > 0 else num_rows


def _has_lost_lines(times: Path, num_rows: int, times_bytes: int) -> bool:
    """Tell whether the times of two videos or more lie behind the last commit.

    A writer appends times right before a video's line, so behind a killed one lie those of one
    video, or the end of a shard it was sealing. The size was taken before the journal was read:
    what a living writer appended since then is not looked at.
    """
    if times_bytes <= num_rows * 16:
        return False
    with times.open("rb") as file:
        file.seek(num_rows * 16)
        behind = file.read(times_bytes - num_rows * 16)
    if shard_end(num_rows, 16).startswith(behind):
        return False
    times_R2 = np.frombuffer(behind[: len(behind) // 16 * 16], "<f8").reshape(-1, 2)
    return bool((np.diff(times_R2, axis=0) < 0).any())


def array_file(part: Path, name: str, header: StreamHeader) -> tuple[Path, int]:
    """Return the shard file of an array, and the bytes of a row in it."""
    if name == layout.TIME:
        return shard_path(part, name, ndim=2), 16
    itemsize = np.dtype(layout.STORED_DTYPE[header.recipe.store_dtype]).itemsize
    path = shard_path(part, name, ndim=1 + len(header.row_shape))
    return path, itemsize * math.prod(header.row_shape)


def _array_problems(part: Path, name: str, header: StreamHeader, rows: int) -> Iterator[str]:
    path, row_bytes = array_file(part, name, header)
    size, end = path.stat().st_size if path.exists() else 0, shard_end(rows, row_bytes)
    if size != rows * row_bytes + len(end):
        yield f"{name}: sealed file has {size} bytes, expected {rows * row_bytes + len(end)}"
    elif _tail(path, len(end)) != end:
        yield f"{name}: shard index or padding differs from what its rows need. {RESTORE}"
    try:
        metadata = json_object(part / name / layout.ZARR_JSON)
    except StoreCorruptError as error:
        yield str(error)
        return
    if metadata != array_documents(header, rows)[name]:
        yield f"{name}: zarr.json differs from the one its rows need. {RESTORE}"


def _zarr_differences(part: Path, stream: Stream, opened: StreamPart) -> Iterator[str]:
    """Compare rows through the Zarr library, as far as the files are right."""
    import zarr  # here, because it takes a second to import and an unsealed part does not need it

    rows = opened.commits.end_row
    for name in (layout.FEATURES, layout.TIME):
        if not any(_array_problems(part, name, StreamHeader.of(stream), rows)):
            array = zarr.open_array(str(part / name), mode="r")
            yield from differences_near(array, name, stream, opened, "zarr-python")


def _tail(path: Path, num_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-num_bytes, os.SEEK_END)
        return file.read()
