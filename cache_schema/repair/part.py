"""Put back the files around the rows of one sealed part."""

import time
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.journal import open_journal
from cache_schema.proof.sealed_part import sealed_journal
from cache_schema.proof.zarr_files import array_file, sealed_part_problems
from cache_schema.records import json_object
from cache_schema.repair.bench import Bench
from cache_schema.writing.durable import partials
from cache_schema.zarr_backend.headers import (
    StreamHeader,
    group,
    part_attributes,
    read_attributes,
)
from cache_schema.zarr_backend.seal import (
    array_documents,
    lost_its_journal,
    read_copy,
    write_copy,
)
from cache_schema.zarr_backend.shard import shard_end
from cache_schema.zarr_backend.store import locked_part

__all__ = ["mend_part"]


def mend_part(part: Path, header: StreamHeader, bench: Bench) -> None:
    """Mend a sealed part; one that nobody sealed has nothing to be mended from.

    Args:
        part: Its folder.
        header: Of its stream.
        bench: Makes the changes.
    """
    if not _was_sealed(part) or not _is_damaged(part, header):
        return
    with locked_part(part) as has_lock:
        if not has_lock:
            bench.left_alone[str(part)] = "a process writes it"
        elif age := _too_young(part, bench.quiet_seconds):
            bench.left_alone[str(part)] = f"written to {age:.0f} s ago, maybe by another machine"
        elif (sealed := sealed_journal(part)) is None:
            bench.left_alone[str(part)] = "what is left does not prove what it was sealed with"
        else:
            _mend(part, header, *sealed, bench)


def _was_sealed(part: Path) -> bool:
    """Tell whether sealing had begun; of one that was killed then, the rest can be done."""
    arrays = (part / name / layout.ZARR_JSON for name in (layout.FEATURES, layout.TIME))
    others = (part / layout.ZARR_JSON, part / layout.COMMITS_COPY)
    return any(path.exists() for path in (*others, *arrays))


def _is_damaged(part: Path, header: StreamHeader) -> bool:
    if (part / layout.REMOVED).exists() and not (part / layout.COMMITS).exists():
        return False  # compaction was killed while it took the part away
    if lost_its_journal(part) or not (part / layout.ZARR_JSON).exists():
        return True
    try:
        open_journal(part / layout.COMMITS)
    except StoreCorruptError:
        return True
    return any(sealed_part_problems(part, header))


def _too_young(part: Path, quiet_seconds: float) -> float:
    """Return the age of a part without ``zarr.json`` if its writer may still be sealing it."""
    if (part / layout.ZARR_JSON).exists():
        return 0.0
    files = (path for path in part.rglob("*") if path.is_file())
    age_seconds = time.time() - max(path.stat().st_mtime for path in files)
    return age_seconds if age_seconds < quiet_seconds else 0.0


def _mend(part: Path, header: StreamHeader, rows: int, journal: bytes, bench: Bench) -> None:
    """Write what differs from what a writer would have written; ``zarr.json`` comes last."""
    path = part / layout.COMMITS
    if not path.exists() or path.read_bytes() != journal:
        bench.journal(path, journal)
    for name, document in array_documents(header, rows).items():
        _mend_shard(part, name, header, rows, bench)
        _mend_document(part / name / layout.ZARR_JSON, document, bench)
    attributes = part_attributes(rows, journal)
    if _was_sealed_without_copy(part, rows):
        del attributes[layout.COMMITS_CRC32C]
    elif not _has_copy(part, header, journal):
        copy = part / layout.COMMITS_COPY
        bench.do(copy, "the journal", lambda: write_copy(part, header, journal))
    _mend_document(part / layout.ZARR_JSON, group(attributes), bench)
    if not bench.dry_run:
        for partial in partials(part / layout.ZARR_JSON):
            partial.unlink()


def _mend_shard(part: Path, name: str, header: StreamHeader, rows: int, bench: Bench) -> None:
    path, row_bytes = array_file(part, name, header)
    at, end = rows * row_bytes, shard_end(rows, row_bytes)
    if not path.exists() or path.stat().st_size < at:
        bench.left_alone[str(path)] = "rows are missing, and nothing else holds them"
        return
    with path.open("rb") as file:
        file.seek(at)
        if file.read(len(end) + 1) == end:
            return
    bench.end(path, at, end)


def _mend_document(path: Path, document: dict[str, object], bench: Bench) -> None:
    try:
        if json_object(path) == document:
            return
    except StoreCorruptError:
        pass
    bench.document(path, document, "the journal")


def _was_sealed_without_copy(part: Path, rows: int) -> bool:
    """Tell whether a whole ``zarr.json`` speaks of no copy: there were none before."""
    try:
        return read_attributes(part) == {layout.NUM_ROWS: rows}
    except StoreCorruptError:
        return False


def _has_copy(part: Path, header: StreamHeader, journal: bytes) -> bool:
    try:
        return read_copy(part) == (header, journal)
    except StoreCorruptError:
        return False
