"""Find the streams of an HDF5 store, and read their headers and journals."""

from collections.abc import Iterator
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import SchemaVersionError, StoreCorruptError, StoreError
from cache_schema.hdf5_backend.rows import RESTORE, Hdf5Dataset, Hdf5File, Hdf5Group, Hdf5Rows, look
from cache_schema.journal import BLOCK_BYTES, Journal
from cache_schema.recipe import read_recipe
from cache_schema.stream import OnDamage, Stream, StreamPart, as_source, raise_damage

__all__ = [
    "behind_commits",
    "check_file",
    "read_commits",
    "read_hdf5_streams",
    "read_header",
    "read_stream",
    "stream_rows",
]


def read_hdf5_streams(path: Path, on_damage: OnDamage = raise_damage) -> list[Stream]:
    """Return every stream with its committed rows, sorted by name."""
    damages: list[StoreCorruptError] = []

    def read(file: Hdf5File) -> list[Stream]:
        damages.clear()  # of an earlier look
        check_file(file, path)
        streams = []
        for name in sorted(file):
            try:
                streams.append(read_stream(path, file[name]))
            except StoreCorruptError as error:
                damages.append(error)
        return streams

    streams = look(path, read)
    for error in damages:
        on_damage(error)
    return streams


def read_stream(path: Path, group: Hdf5Group) -> Stream:
    """Return a stream with its committed rows.

    Raises:
        StoreCorruptError: if its recipe or its journal is damaged.
    """
    header = read_header(path, group)
    rows = stream_rows(path, group, header.recipe.store_dtype)
    commits = read_commits(group, rows)
    parts = [StreamPart(id="0", commits=commits, rows=rows)] if commits else []
    source = header.encoder_source
    return Stream(header.name, header.recipe, header.row_shape, parts, encoder_source=source)


def read_header(path: Path, group: Hdf5Group) -> Stream:
    """Return a stream without its videos."""
    name = group.name.lstrip("/")
    stored = group.attrs.get("recipe", "null"), group.attrs.get("fingerprint")
    recipe = read_recipe(*stored, where=f"{path}: stream '{name}'", hint=RESTORE)
    row_shape = tuple(int(size) for size in group[layout.FEATURES].shape[1:])
    source = as_source(group.attrs.get(layout.ENCODER_SOURCE))
    return Stream(name, recipe, row_shape, (), encoder_source=source)


def stream_rows(path: Path, group: Hdf5Group, store_dtype: str) -> Hdf5Rows:
    """Return the rows of a stream, to be read when the file is closed."""
    row_shape = tuple(int(size) for size in group[layout.FEATURES].shape[1:])
    store_id = group.file.attrs["store_id"]
    return Hdf5Rows(path, group.name.lstrip("/"), store_id, row_shape, store_dtype)


def read_commits(group: Hdf5Group, rows: Hdf5Rows) -> Journal:
    """Return the commits of a stream whose rows these are.

    Raises:
        StoreCorruptError: if its journal is damaged.
    """
    where = f"{group.file.filename}: {group.name}/{layout.COMMITS}"
    return Journal(_journal_blocks(group[layout.COMMITS]), rows.journal, where=where)


def behind_commits(group: Hdf5Group, commits: Journal) -> bytes:
    """Return what follows the last commit in a stream's journal."""
    return b"".join(_journal_blocks(group[layout.COMMITS], first=commits.num_bytes))


def _journal_blocks(dataset: Hdf5Dataset, first: int = 0) -> Iterator[bytes]:
    """Yield a journal's bytes from byte ``first`` on, without the zeros at its end."""
    num_zeros = 0
    for start in range(first, len(dataset), BLOCK_BYTES):
        block: bytes = dataset[start : start + BLOCK_BYTES].tobytes()
        if kept := block.rstrip(b"\0"):
            yield bytes(num_zeros) + kept
            num_zeros = 0
        num_zeros += len(block) - len(kept)


def check_file(file: Hdf5File, path: Path) -> None:
    """Raise unless a file is a store of the version this code reads."""
    if file.attrs.get("kind") != layout.KIND:
        raise StoreError(f"{path}: is an HDF5 file but not a {layout.KIND}.")
    version = file.attrs.get("schema_version")
    if version != layout.SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path}: has schema version {version}, this code reads {layout.SCHEMA_VERSION}."
        )
