"""Find the streams and parts of a Zarr store, and notice when a file of them is gone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import (
    SchemaVersionError,
    StoreCorruptError,
    StoreError,
    StoreNotFoundError,
)
from cache_schema.journal import open_journal
from cache_schema.records import RESTORE
from cache_schema.stream import OnDamage, Stream, StreamPart, raise_damage
from cache_schema.writing.durable import partials
from cache_schema.zarr_backend.headers import (
    StreamHeader,
    read_attributes,
    read_stream_header,
)
from cache_schema.zarr_backend.rows import ZarrPartRows
from cache_schema.zarr_backend.seal import lost_its_journal

__all__ = [
    "check_store",
    "check_version",
    "has_parts",
    "is_empty_folder",
    "part_folders",
    "read_zarr_stream",
    "read_zarr_streams",
    "stream_folders",
]


def read_zarr_streams(store: Path, on_damage: OnDamage = raise_damage) -> list[Stream]:
    """Return every stream with its committed rows, sorted by name."""
    check_store(store, on_damage)
    streams = []
    for folder in stream_folders(store):
        try:
            header = read_stream_header(folder)
            parts = part_folders(folder)
        except StoreCorruptError as error:
            on_damage(error)
            continue
        streams.append(_stream(folder, header, parts, on_damage))
    return streams


def check_store(path: Path, on_damage: OnDamage = raise_damage) -> None:
    """Raise unless ``path`` is a store of the version this code reads.

    Args:
        path: Its folder.
        on_damage: Called if its ``zarr.json`` is damaged, but its streams are there.
    """
    if not (path / layout.ZARR_JSON).exists() and not any(stream_folders(path)):
        raise StoreNotFoundError(f"{path}: no feature store here. Make one with vllm-extract.")
    try:
        attributes = read_attributes(path)
    except StoreCorruptError as error:
        on_damage(error)
        return
    if attributes.get("kind") != layout.KIND:
        if not any(stream_folders(path)):
            raise StoreError(f"{path}: is a Zarr group but not a {layout.KIND}.")
        on_damage(
            StoreCorruptError(
                f"{path / layout.ZARR_JSON}: kind is {attributes.get('kind')!r}, expected "
                f"'{layout.KIND}'. {RESTORE}"
            )
        )
        return
    check_version(attributes, str(path))


def is_empty_folder(path: Path) -> bool:
    """Tell whether a path is a folder for a store that is yet to be made.

    It may hold what a writer left that was killed while it made the store.
    """
    return path.is_dir() and set(path.iterdir()) <= set(partials(path / layout.ZARR_JSON))


def check_version(attributes: Mapping[str, object], where: str) -> None:
    """Raise unless a store's attributes name the version this code reads.

    Raises:
        SchemaVersionError: if they name another.
    """
    version = attributes.get("schema_version")
    if version != layout.SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{where}: has schema version {version}, this code reads {layout.SCHEMA_VERSION}."
        )


def stream_folders(store: Path) -> list[Path]:
    """Return the folders of all streams, sorted, be their headers there or not.

    A stream that is being made has no header yet, and no part: it is none.
    """
    folders = store.glob("*/")
    return sorted(f for f in folders if (f / layout.ZARR_JSON).exists() or has_parts(f))


def has_parts(stream: Path) -> bool:
    """Tell whether any part of a stream was begun."""
    return any(path.is_dir() for path in (stream / layout.PARTS).glob("*"))


def read_zarr_stream(folder: Path) -> Stream:
    """Return one stream, all of which must be whole.

    Raises:
        StoreCorruptError: if it is damaged.
    """
    return _stream(folder, read_stream_header(folder), part_folders(folder), raise_damage)


def part_folders(stream: Path) -> list[Path]:
    """Return the folders of all parts of a stream, whatever their state, oldest first.

    Raises:
        StoreCorruptError: if the folder they lie in is gone.
    """
    try:
        return sorted(path for path in (stream / layout.PARTS).iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreCorruptError(
            f"{stream / layout.PARTS}: is gone, and with it all videos of the stream. Restore it, "
            f"or remove {stream} and extract its videos again."
        ) from error


def _stream(folder: Path, header: StreamHeader, parts: list[Path], on_damage: OnDamage) -> Stream:
    found = list(_parts(parts, header, on_damage))
    return Stream(
        folder.name,
        header.recipe,
        header.row_shape,
        found,
        encoder_source=header.encoder_source,
    )


def _parts(folders: list[Path], header: StreamHeader, on_damage: OnDamage) -> Iterator[StreamPart]:
    for part in folders:
        journal = part / layout.COMMITS
        try:
            commits = open_journal(journal)
            if not commits and lost_its_journal(part):
                raise StoreCorruptError(
                    f"{journal}: is gone, and with it whose the rows beside it are. "
                    f"Put it back with 'vllm-store repair', which can if the part was sealed; "
                    f"else remove {part} and extract its videos again."
                )
        except StoreCorruptError as error:
            on_damage(error)
            continue
        if commits:
            rows = ZarrPartRows(part, header.row_shape, header.recipe.store_dtype)
            yield StreamPart(id=part.name, commits=commits, rows=rows)
