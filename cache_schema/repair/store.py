"""Put back what a store lost: store in, list of what was mended and what stays lost out.

Nothing is guessed. A file is written only if what is left proves each of its bytes, and the store
is verified afterwards, so that what could not be put back is named.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.place import Place
from cache_schema.proof.report import Report
from cache_schema.proof.verify import verify_store
from cache_schema.proof.zarr_files import group_problem
from cache_schema.repair.bench import Bench
from cache_schema.repair.header import find_header
from cache_schema.repair.part import mend_part
from cache_schema.store import is_hdf5
from cache_schema.writing.write_errors import write_errors
from cache_schema.zarr_backend.headers import (
    StreamHeader,
    group,
    read_attributes,
    root_attributes,
)
from cache_schema.zarr_backend.reader import check_store, has_parts, part_folders, stream_folders

__all__ = ["Repair", "repair_store"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """What a repair did, and what is wrong after it."""

    mended: list[str]
    left_alone: dict[str, str]
    """Place -> why nothing was done there."""
    report: Report


def repair_store(
    path: Place,
    *,
    quiet_seconds: float = 3600,
    dry_run: bool = False,
    progress: Callable[[int], object] = lambda num_rows: None,
) -> Repair:
    """Mend what can be mended, and verify the store.

    Killed at any instant, the store is no worse, and the next repair goes on. An HDF5 file holds
    nothing twice, and objects of a bucket are put whole and never changed: of both it is only said
    what is lost.

    Args:
        path: Of the store.
        quiet_seconds: A part whose seal is not complete is left alone if it was written to later
            than this ago: its writer may live on another machine.
        dry_run: Change nothing, and say what would be.
        progress: Called with the number of rows after each video that was verified.

    Raises:
        StoreError: if there is no store of this version, or it cannot be written.
    """
    bench = Bench(dry_run=dry_run, quiet_seconds=quiet_seconds)
    if isinstance(path, Path) and not is_hdf5(path) and path.is_dir():
        with write_errors(path):
            _mend(path, bench)
    report = verify_store(path, progress)
    return Repair(mended=bench.mended, left_alone=bench.left_alone, report=report)


def _mend(path: Path, bench: Bench) -> None:
    damages: list[StoreCorruptError] = []
    check_store(path, damages.append)  # of another version, it is not touched
    headers = []
    for folder in stream_folders(path):
        if not (folder / layout.PARTS).is_dir():
            continue
        if (header := find_header(folder)) is None:
            bench.left_alone[str(folder)] = "what is left does not prove what its header was"
            continue
        headers.append(header)
        _mend_headers(folder, header, bench)
        for part in part_folders(folder):
            mend_part(part, header, bench)
    versions = {header.recipe.schema_version for header in headers}
    if versions == {layout.SCHEMA_VERSION} and (damages or group_problem(path)):
        document = group(root_attributes())
        bench.document(path / layout.ZARR_JSON, document, "the version its streams' recipes name")


def _mend_headers(folder: Path, header: StreamHeader, bench: Bench) -> None:
    document, parts = group(header.attributes()), folder / layout.PARTS
    copy = group(header.parts_attributes())
    if _differs(folder, header, header.encoder_source):
        bench.document(folder / layout.ZARR_JSON, document, "its copies")
    if has_parts(folder) and _differs(parts, header, "") and not _is_plain(parts):
        bench.document(parts / layout.ZARR_JSON, copy, "the stream's")


def _differs(folder: Path, header: StreamHeader, source: str) -> bool:
    """Tell whether a group does not say what a header says; what else it says is its owner's."""
    try:
        where = str(folder / layout.ZARR_JSON)
        found = StreamHeader.from_attributes(read_attributes(folder), where)
    except StoreCorruptError:
        return True
    is_same = found == header and found.encoder_source == source
    return not is_same or group_problem(folder) is not None


def _is_plain(parts: Path) -> bool:
    """Tell whether a stream was made before its header was copied, and lacks nothing."""
    return group_problem(parts) is None and not read_attributes(parts)
