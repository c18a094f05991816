"""Sealing a part: what a Zarr reader needs, and a second copy of what nobody could do without.

The order lets everybody tell a part that is being sealed, or whose writer was killed while it
sealed it, from one that lost a file later: the part's ``zarr.json`` lies beside its place, as
``zarr.*.partial.json``, before any of the others is made, and gets its name last.
"""

import json
from contextlib import suppress
from pathlib import Path

import google_crc32c
import numpy as np

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.journal import decode_journal
from cache_schema.parsing import to_json
from cache_schema.records import RESTORE, line_of
from cache_schema.writing.durable import partials, replaced_file, sync_path
from cache_schema.zarr_backend.headers import (
    StreamHeader,
    group,
    part_attributes,
    to_text,
    write_document,
)
from cache_schema.zarr_backend.shard import shard_metadata

__all__ = [
    "array_documents",
    "copy_of",
    "lost_its_journal",
    "lost_its_seal",
    "parse_copy",
    "read_copy",
    "write_copy",
    "write_seal",
]


def write_seal(part: Path, header: StreamHeader, num_rows: int, journal: bytes) -> None:
    """Write everything that seals a part but the ends of its shard files.

    Args:
        part: Its folder.
        header: Of its stream.
        num_rows: Committed rows.
        journal: The bytes of its ``commits.log``.
    """
    arrays = array_documents(header, num_rows)
    made = [part / layout.COMMITS_COPY, *(part / name / layout.ZARR_JSON for name in arrays)]
    with replaced_file(part / layout.ZARR_JSON) as temporary:
        document = group(part_attributes(num_rows, journal))
        temporary.write_text(to_text(document), encoding="utf-8")
        sync_path(temporary)
        sync_path(part)
        try:
            write_copy(part, header, journal)
            for name, metadata in arrays.items():
                write_document(part / name / layout.ZARR_JSON, metadata)
        except BaseException:
            # Without its partial, what is there would look like a seal that lost its zarr.json.
            with suppress(OSError):
                for path in made:
                    path.unlink(missing_ok=True)
            raise


def array_documents(header: StreamHeader, num_rows: int) -> dict[str, dict[str, object]]:
    """Return the ``zarr.json`` of each array of a sealed part."""
    dtype = np.dtype(layout.STORED_DTYPE[header.recipe.store_dtype]).name
    return {
        layout.FEATURES: shard_metadata(num_rows, header.row_shape, dtype),
        layout.TIME: shard_metadata(num_rows, (2,), "float64"),
    }


def write_copy(part: Path, header: StreamHeader, journal: bytes) -> None:
    """Write the second copy of a journal, behind a line with the attributes of the stream."""
    with replaced_file(part / layout.COMMITS_COPY) as temporary:
        temporary.write_bytes(copy_of(header, journal))


def copy_of(header: StreamHeader, journal: bytes) -> bytes:
    """Return the bytes of the second copy."""
    return line_of(to_json(header.attributes())) + journal


def read_copy(part: Path) -> tuple[StreamHeader, bytes]:
    """Return what the second copy says: the stream's header, and the journal's bytes.

    Raises:
        StoreCorruptError: if it is gone, or if any of its lines does not match its checksum.
    """
    path = part / layout.COMMITS_COPY
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreCorruptError(f"{path}: is gone. {RESTORE}") from error
    return parse_copy(data, str(path))


def parse_copy(data: bytes, where: str) -> tuple[StreamHeader, bytes]:
    """Return what the bytes of a second copy say; raises as ``read_copy`` does."""
    head, _, journal = data.partition(b"\n")
    checksum, _, text = head.partition(b" ")
    _, behind = decode_journal(journal, where=where)
    if checksum != b"%08x" % google_crc32c.value(text) or behind:
        raise StoreCorruptError(f"{where}: a line does not match its checksum. {RESTORE}")
    return StreamHeader.from_attributes(json.loads(text), where), journal


def lost_its_journal(part: Path) -> bool:
    """Tell whether a part has no ``commits.log`` and should have one.

    A writer makes the journal before it writes rows, and whoever takes a part away leaves a mark
    before, which is the last file to go. Looked at in this order, neither is ever mistaken.
    """
    journal = part / layout.COMMITS
    if journal.exists() or (part / layout.REMOVED).exists():
        return False
    has_rows = any(path.is_file() and path.stat().st_size for path in part.glob("*/c/**/0"))
    others = (part / layout.ZARR_JSON, part / layout.COMMITS_COPY)
    is_there = has_rows or any(path.exists() for path in others)
    return is_there and not journal.exists()


def lost_its_seal(part: Path) -> bool:
    """Tell whether a part was sealed and has no ``zarr.json`` any more."""
    path = part / layout.ZARR_JSON
    if path.exists() or partials(path):
        return False
    arrays = (part / name / layout.ZARR_JSON for name in (layout.FEATURES, layout.TIME))
    is_there = any(other.exists() for other in (part / layout.COMMITS_COPY, *arrays))
    return is_there and not path.exists()  # it may have got its name meanwhile
