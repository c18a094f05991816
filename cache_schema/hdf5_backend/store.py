"""The HDF5 backend: one file, one writer, many readers, committed videos survive a killed writer.

Every dataset is made when its stream is; from then on the file is only open in HDF5's
single-writer/multiple-reader (SWMR) mode, whose order of writes makes the file readable at every
instant. docs/format.md is the law; layout.py has the names.
"""

import math
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import StoreError
from cache_schema.hdf5_backend.lock import lock_file, locked_folder
from cache_schema.hdf5_backend.reader import (
    check_file,
    read_commits,
    read_header,
    read_stream,
    stream_rows,
)
from cache_schema.hdf5_backend.rows import look
from cache_schema.hdf5_backend.superblock import SUPERBLOCK_BYTES, clear_writer_mark, was_closed
from cache_schema.parsing import to_json
from cache_schema.recipe import Recipe
from cache_schema.records import VideoRecord
from cache_schema.stored_numbers import Array
from cache_schema.stream import Stream
from cache_schema.writing.closing import ClosedOnExit
from cache_schema.writing.durable import make_folders, partials, replaced_file, true_path
from cache_schema.writing.pending import (
    PendingVideo,
    check_same_stream,
    check_stream_name,
    checked_row_shape,
)
from cache_schema.writing.write_errors import write_errors

__all__ = ["Hdf5StoreWriter", "Hdf5StreamWriter", "replaced_store"]

CHUNK_BYTES = 2**20
"""Feature chunks have about this size; rows behind a stream's last commit waste less than one."""
TIME_CHUNK_ROWS = 4096
COMMITS_CHUNK_BYTES = 2**16
PAGE_BYTES = 4096
"""Metadata up to a page never crosses one, so a killed writer cannot leave half of it."""


class _Committed(NamedTuple):
    """Where a stream's commits end: one value, so that Ctrl-C finds both or neither changed."""

    journal_bytes: int
    rows: int


class Hdf5StreamWriter:
    """Append videos to one stream; see ``StreamWriter`` for the promises."""

    def __init__(
        self, file: "_WriterFile", name: str, row_shape: tuple[int, ...], store_dtype: str
    ) -> None:
        self._file = file
        self._name = name
        group = file.group(name)
        commits = read_commits(group, stream_rows(file.path, group, store_dtype))
        self._committed = _Committed(commits.num_bytes, commits.end_row)
        self._pending = PendingVideo(f"{file.path}: {name}", row_shape, store_dtype)

    def append(self, values: Array, *, are_finite: bool = False) -> None:
        """Add rows to the current video; nothing is visible before ``commit``.

        Args:
            values: (rows, *row_shape) in the stored dtype (uint16 bits for bfloat16).
            are_finite: Whether the caller has made sure of that, so that nobody looks again.

        Raises:
            StoreError: on another dtype or shape, or numbers that are not finite.
        """
        first_row = self._committed.rows + self._pending.num_rows
        rows = self._pending.checked(values, are_finite=are_finite)
        with self._taking_back():
            _put_rows(self._file.group(self._name)[layout.FEATURES], first_row, rows)
            self._pending.count(rows)

    def commit(self, video: VideoRecord, times_R2: NDArray[np.float64]) -> None:
        """Make the rows appended since the last commit durable and visible as ``video``.

        Args:
            video: The record to remember.
            times_R2: Start and end second of each of these rows.

        Raises:
            StoreError: if no row was appended, their number is not that of the times, or the format
                cannot hold the times or the record; the rows stay then.
        """
        times_R2 = self._pending.check_times(video, times_R2)
        end, rows = self._committed
        line = np.frombuffer(self._pending.line(video, rows, times_R2), np.uint8)
        with self._taking_back():
            group = self._file.group(self._name)
            _put_rows(group[layout.TIME], rows, times_R2)
            self._file.sync()
            # What a killed writer left of a line is cut off, not only written over.
            group[layout.COMMITS].resize(end, axis=0)
            _put_rows(group[layout.COMMITS], end, line)
            self._file.sync()
            self._committed = _Committed(end + len(line), rows + len(times_R2))
            self._pending.clear()

    def abandon(self) -> None:
        """Forget the rows appended since the last commit; the next ones are written over them."""
        self._pending.clear()

    def close(self) -> None:
        """Forget pending rows and cut the datasets to the committed ones."""
        self.abandon()
        if self._file.is_broken:
            return
        with self._file.writing():
            group = self._file.group(self._name)
            group[layout.COMMITS].resize(self._committed.journal_bytes, axis=0)
            for name in (layout.FEATURES, layout.TIME):
                group[name].resize(self._committed.rows, axis=0)
            self._file.sync()

    @contextmanager
    def _taking_back(self) -> Iterator[None]:
        """Write; if Ctrl-C comes between, cut off a line whose rows would be written over."""
        try:
            with self._file.writing():
                yield
        except BaseException:
            self._pending.clear()
            if not self._file.is_broken:
                self._cut_journal()
            raise

    def _cut_journal(self) -> None:
        try:
            with self._file.writing():
                journal = self._file.group(self._name)[layout.COMMITS]
                journal.resize(self._committed.journal_bytes, axis=0)
                self._file.sync()
        except BaseException:
            self._file.is_broken = True
            raise


class Hdf5StoreWriter(ClosedOnExit):
    """An HDF5 store open for writing by this process alone."""

    def __init__(self, path: Path) -> None:
        self._file = _WriterFile(true_path(path))
        self._streams: dict[str, Hdf5StreamWriter] = {}

    def stream(
        self, name: str, recipe: Recipe, row_shape: tuple[int, ...], *, encoder_source: str = ""
    ) -> Hdf5StreamWriter:
        """Return a writer for a stream, which is made if it is not there.

        To make one in a file that holds rows takes a copy of the file: make all streams first.
        """
        check_stream_name(name)
        row_shape = checked_row_shape(name, row_shape)
        if (stored := self._file.header(name)) is None:
            with self._file.writing():
                self._file.add_stream(name, recipe, row_shape, encoder_source)
        else:
            check_same_stream(str(self._file.path), stored, recipe, row_shape)
        if name not in self._streams:
            writer = Hdf5StreamWriter(self._file, name, row_shape, recipe.store_dtype)
            self._streams[name] = writer
        return self._streams[name]

    def close(self) -> None:
        """Close every stream writer and the file."""
        with ExitStack() as everything:
            everything.callback(self._file.close)
            for writer in self._streams.values():
                everything.callback(writer.close)
            self._streams = {}


class _WriterFile:
    """The locked file and its handle in SWMR mode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_broken = False
        """A write failed: what HDF5 still holds in memory may be of no use any more."""
        with write_errors(path, RuntimeError):
            make_folders(path.parent)
            with locked_folder(path.parent):
                if not path.exists():
                    with replaced_file(path) as temporary:
                        _create(temporary)
            self._descriptor = lock_file(path)
            try:
                # HDF5 would read a damaged block again and again, for ever, once it may write.
                look(path, lambda file: _check_whole(file, path))
                _remove_partials(path)
                self._file = self._open()
            except BaseException:
                os.close(self._descriptor)
                raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Refuse every write after a failed one: its video may have become visible."""
        if self.is_broken:
            raise StoreError(f"{self.path}: an earlier write failed. Run the same command again.")
        try:
            with write_errors(self.path, RuntimeError):
                yield
        except StoreError:
            self.is_broken = True
            raise

    def group(self, name: str) -> h5py.Group:
        return self._file[name]

    def header(self, name: str) -> Stream | None:
        return read_header(self.path, self._file[name]) if name in self._file else None

    def add_stream(
        self, name: str, recipe: Recipe, row_shape: tuple[int, ...], encoder_source: str
    ) -> None:
        """Make a stream in a copy that then takes the file's place, which no kill can tear."""
        self.is_broken = True  # unless all of this is done: the file is closed meanwhile
        self._file.close()
        with replaced_file(self.path) as temporary:
            shutil.copyfile(self.path, temporary)
            with h5py.File(temporary, "r+", libver=("v110", "v110"), locking=False) as file:
                _create_stream(file.create_group(name), recipe, row_shape, encoder_source)
            descriptor = lock_file(temporary)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._file = self._open()
        self.is_broken = False

    def sync(self) -> None:
        """Wait until everything written so far is on disk."""
        self._file.flush()
        os.fsync(self._descriptor)

    def close(self) -> None:
        try:
            if not self.is_broken:
                with self.writing():
                    self._file.close()
                    os.fsync(self._descriptor)
                os.close(self._descriptor)
        finally:
            if self.is_broken:
                self._give_up()

    def _give_up(self) -> None:
        """Let go of a handle HDF5 cannot write any more, but not of the lock before the process."""
        for _ in range(2):  # the first closing fails at what is left to write, the second does not
            with suppress(OSError, RuntimeError):
                self._file.close()

    def _open(self) -> h5py.File:
        file_bytes = os.fstat(self._descriptor).st_size
        if not was_closed(os.pread(self._descriptor, SUPERBLOCK_BYTES, 0), file_bytes):
            # We hold the lock, so its last writer is dead, or could not write all it wanted to.
            end_bytes = look(self.path, lambda file: _check_whole(file, self.path))
            clear_writer_mark(self._descriptor, end_bytes)
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
        access.set_file_locking(False, True)
        # No chunk cache: rows go to the file as they are, not with the chunk around them.
        access.set_cache(0, 0, 0, 1.0)
        flags = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
        try:
            # For SWMR from the start: a kill between "open" and "start SWMR" locks readers out.
            return h5py.File(h5py.h5f.open(os.fsencode(self.path), flags, fapl=access))
        except OSError as error:
            raise StoreError(
                f"{self.path}: HDF5 cannot open it for writing: {error}. If HDF5_USE_FILE_LOCKING "
                "is set, unset it."
            ) from error


@contextmanager
def replaced_store(path: Path) -> Iterator[Path]:
    """Yield a path for a new store that then takes the place of ``path``, which nobody may write.

    Raises:
        StoreError: if another process writes the store.
    """
    path = true_path(path)
    descriptor = lock_file(path)
    try:
        _remove_partials(path)
        with replaced_file(path) as temporary:
            yield temporary
    finally:
        os.close(descriptor)


def _remove_partials(path: Path) -> None:
    """Remove copies that a killed process did not finish; nobody makes one without the lock."""
    for partial in partials(path):
        partial.unlink()


def _create(path: Path) -> None:
    with h5py.File(
        path,
        "x",
        libver=("v110", "v110"),
        locking=False,
        fs_strategy="page",
        fs_page_size=PAGE_BYTES,
    ) as file:
        file.attrs["kind"] = layout.KIND
        file.attrs["schema_version"] = layout.SCHEMA_VERSION
        file.attrs["store_id"] = secrets.token_hex(8)


def _create_stream(
    group: h5py.Group, recipe: Recipe, row_shape: tuple[int, ...], encoder_source: str
) -> None:
    group.attrs["recipe"] = to_json(recipe)
    group.attrs["fingerprint"] = recipe.fingerprint
    if encoder_source:
        group.attrs[layout.ENCODER_SOURCE] = encoder_source
    dtype = np.dtype(layout.STORED_DTYPE[recipe.store_dtype]).newbyteorder("<")
    rows = chunk_rows(dtype.itemsize * math.prod(row_shape))
    # With two unlimited dimensions, of which only the first grows, HDF5 keeps the chunks' places in
    # a version 2 B-tree. Its nodes have 2 KiB; the index for one such dimension has blocks that
    # outgrow a page (from about 8,000 chunks on), and a kill could then leave half of one.
    for name, item, item_shape, count in (
        (layout.FEATURES, dtype, row_shape, rows),
        (layout.TIME, np.dtype("<f8"), (2,), TIME_CHUNK_ROWS),
    ):
        group.create_dataset(
            name,
            shape=(0, *item_shape),
            maxshape=(None, None, *item_shape[1:]),
            chunks=(count, *item_shape),
            dtype=item,
            fill_time="never",
        )
    group.create_dataset(
        layout.COMMITS, shape=(0,), maxshape=(None,), chunks=(COMMITS_CHUNK_BYTES,), dtype="u1"
    )


def chunk_rows(row_bytes: int) -> int:
    """Return the rows of a feature chunk: whole pages, so that chunks lie side by side."""
    whole_pages = PAGE_BYTES // math.gcd(row_bytes, PAGE_BYTES)
    return max(1, round(CHUNK_BYTES / row_bytes / whole_pages)) * whole_pages


def _put_rows(dataset: h5py.Dataset, first_row: int, rows: Array) -> None:
    end = first_row + len(rows)
    if len(dataset) < end:
        dataset.resize(end, axis=0)
    dataset[first_row:end] = rows


def _check_whole(file: h5py.File, path: Path) -> int:
    """Read all metadata; return the byte behind the last chunk of any dataset, written or not."""
    check_file(file, path)
    ends = [0]
    for name in file:  # values() gives None for what cannot be opened
        read_stream(path, file[name])
        for key in file[name]:
            dataset = file[name][key]
            dataset.id.chunk_iter(lambda chunk: ends.append(chunk.byte_offset + chunk.size))
    size = max(*ends, path.stat().st_size)
    return -(-size // PAGE_BYTES) * PAGE_BYTES
