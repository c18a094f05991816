"""The Zarr v3 backend: parts on a file system, written by one process each, read by bytes.

docs/format.md is the law; layout.py has the names.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import StoreError
from cache_schema.records import VideoRecord, append_line
from cache_schema.stored_numbers import Array
from cache_schema.writing.durable import (
    make_folders,
    new_file,
    replaced_folder,
    sync_path,
    true_path,
)
from cache_schema.writing.exclusive_lock import take_lock
from cache_schema.writing.part_names import PartNames
from cache_schema.writing.pending import PendingVideo, check_same_stream, check_stream_name
from cache_schema.writing.write_errors import write_errors
from cache_schema.zarr_backend.headers import (
    StreamHeader,
    group,
    read_stream_header,
    root_attributes,
    to_text,
    write_document,
)
from cache_schema.zarr_backend.reader import (
    check_store,
    has_parts,
    is_empty_folder,
    read_zarr_stream,
    stream_folders,
)
from cache_schema.zarr_backend.rows import shard_path
from cache_schema.zarr_backend.seal import write_seal
from cache_schema.zarr_backend.shard import ShardFile
from cache_schema.zarr_backend.stream_writers import StreamWriters

__all__ = ["ZarrStoreWriter", "ZarrStreamWriter", "locked_part"]


def create_zarr_store(path: Path) -> None:
    """Make an empty store, or do nothing if there is one.

    Raises:
        StoreError: if the path holds something else.
    """
    if (path / layout.ZARR_JSON).exists() or (path.is_dir() and any(stream_folders(path))):
        check_store(path)
        return
    if is_empty_folder(path):
        # Not another one in its place: a quota, striping or a group may hang on this one.
        write_document(path / layout.ZARR_JSON, group(root_attributes()))
        return
    if path.exists() and not (path / layout.ZARR_JSON).exists():  # it may have come meanwhile
        raise StoreError(f"{path}: exists and is not a feature store. Choose another --out.")
    _make_store(true_path(path))


def _make_store(path: Path) -> None:
    make_folders(path.parent)
    try:
        # Whole or absent: nobody sees a folder without zarr.json.
        with replaced_folder(path) as temporary:
            write_document(temporary / layout.ZARR_JSON, group(root_attributes()))
    except OSError:
        if not (path / layout.ZARR_JSON).exists():
            raise
        check_store(path)  # another writer was faster


def create_zarr_stream(store: Path, name: str, header: StreamHeader) -> Path:
    """Make a stream's folder; a second writer of the same stream finds it made.

    Of two that make streams of one name at the same instant, one does; the other is checked.

    Raises:
        RecipeMismatchError: if the stream is there and was made another way.
    """
    check_stream_name(name)
    folder = store / name
    # A stream with parts has lost its header: read below, that is an error, and no reason to make
    # one that may say something else about rows that are there.
    if not (folder / layout.ZARR_JSON).exists() and not has_parts(folder):
        with suppress(FileExistsError):
            _make_stream(folder, header)
    check_same_stream(str(store), read_zarr_stream(folder), header.recipe, header.row_shape)
    if not (folder / layout.PARTS / layout.ZARR_JSON).exists() and not has_parts(folder):
        _copy_header(folder, read_stream_header(folder))
    return folder


def _make_stream(folder: Path, header: StreamHeader) -> None:
    (folder / layout.PARTS).mkdir(parents=True, exist_ok=True)
    sync_path(folder.parent)  # the names of the two above are synced with what is written into them
    with new_file(folder / layout.ZARR_JSON) as temporary:
        temporary.write_text(to_text(group(header.attributes())), encoding="utf-8")


def _copy_header(folder: Path, header: StreamHeader) -> None:
    """Write the header a second time, after the first, which of two writers only one can make."""
    write_document(folder / layout.PARTS / layout.ZARR_JSON, group(header.parts_attributes()))


class ZarrStreamWriter:
    """Append videos of one stream, one at a time; each commits by itself.

    A writer makes its own parts and never touches another's, so any number of them may work on
    one stream. A part without a video is removed on close.
    """

    def __init__(self, folder: Path, row_shape: tuple[int, ...], store_dtype: str) -> None:
        self._folder = folder
        self._row_shape = row_shape
        self._dtype = np.dtype(layout.STORED_DTYPE[store_dtype])
        self._pending = PendingVideo(str(folder), row_shape, store_dtype)
        self._part: _OpenPart | None = None
        self._names = PartNames()
        self.parts: list[Path] = []
        """The folders of all parts this writer made, be they there or not."""

    def append(self, values: Array, *, are_finite: bool = False) -> None:
        """Add rows to the current video; nothing is visible before ``commit``.

        Args:
            values: (rows, *row_shape) in the stored dtype (uint16 bits for bfloat16).
            are_finite: Whether the caller has made sure of that, so that nobody looks again.

        Raises:
            StoreError: on another dtype or shape, or numbers that are not finite.
        """
        rows = self._pending.checked(values, are_finite=are_finite)
        with self._leaving_a_broken_part():
            if self._part is None:
                self._part = _OpenPart(self._new_part(), self._row_shape, self._dtype)
            self._part.append(rows)
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
        assert self._part is not None  # there are rows, so there is a part
        line = self._pending.line(video, self._part.committed_rows, times_R2)
        with self._leaving_a_broken_part():
            self._part.commit(line, times_R2, video.id)
            self._pending.clear()
        if self._part.num_bytes >= layout.PART_BYTES:
            self.close()

    def abandon(self) -> None:
        """Forget the rows appended since the last commit."""
        self._pending.clear()
        if self._part is not None:
            with self._leaving_a_broken_part():
                self._part.abandon()

    def close(self) -> None:
        """Forget pending rows and seal the part: from now on any Zarr reader can read it."""
        self._pending.clear()
        if self._part is not None:
            with self._leaving_a_broken_part():
                self._part.seal()
            self._part = None

    def _new_part(self) -> Path:
        self.parts.append(self._folder / layout.PARTS / self._names.new())
        return self.parts[-1]

    @contextmanager
    def _leaving_a_broken_part(self) -> Iterator[None]:
        """Stay usable after a failed write: what is appended next goes to a new part.

        Ctrl-C fails it, too, and may do so at any instant: what was done is not known then.
        """
        try:
            with write_errors(self._folder):
                yield
        except BaseException:
            self._pending.clear()
            if self._part is not None:
                self._part.leave()
                self._part = None
            raise


class ZarrStoreWriter(StreamWriters[ZarrStreamWriter]):
    """A Zarr store open for writing."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        with write_errors(path):
            create_zarr_store(path)
        self._path = path

    def _open_stream(self, name: str, header: StreamHeader) -> ZarrStreamWriter:
        with write_errors(self._path):
            folder = create_zarr_stream(self._path, name, header)
        return ZarrStreamWriter(folder, header.row_shape, header.recipe.store_dtype)


class _OpenPart:
    """The part a writer is filling."""

    def __init__(
        self, folder: Path, row_shape: tuple[int, ...], dtype: np.dtype[np.generic]
    ) -> None:
        self._folder = folder
        row_bytes = dtype.itemsize * int(np.prod(row_shape))
        self._row_bytes = row_bytes
        features = shard_path(self._folder, layout.FEATURES, ndim=1 + len(row_shape))
        self._features = ShardFile(features, row_bytes)
        self._time = ShardFile(shard_path(self._folder, layout.TIME, ndim=2), 16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._journal = os.open(self._folder / layout.COMMITS, flags, 0o666)
        take_lock(self._journal)  # as long as this writer lives
        # A file is on disk only if the name of every folder on the way to it is.
        for folder in (self._folder.parent, self._folder, *self._folder.rglob("*/")):
            sync_path(folder)
        self.committed_rows = 0

    @property
    def num_bytes(self) -> int:
        return self._features.num_rows * self._row_bytes

    def append(self, rows: Array) -> None:
        self._features.append(rows)

    def commit(self, line: bytes, times_R2: NDArray[np.float64], video_id: str) -> None:
        self._time.append(times_R2)
        self._features.sync()
        self._time.sync()
        if os.fstat(self._journal).st_nlink == 0:
            raise StoreError(
                f"{self._folder}: was removed while this process wrote to it. Extract "
                f"'{video_id}' again."
            )
        # Before the line: whatever instant this is interrupted, no row that a line names is cut.
        self.committed_rows = self._features.num_rows
        append_line(self._journal, line)

    def abandon(self) -> None:
        self._features.rewind(self.committed_rows)
        self._time.rewind(self.committed_rows)

    def leave(self) -> None:
        """Close the files of a part that cannot be written any more; its commits stay."""
        with suppress(OSError):
            self.abandon()
        self._features.close()
        self._time.close()
        self._close_journal()

    def _close_journal(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def seal(self) -> None:
        """Make the part complete; its lock is kept until it is."""
        self.abandon()
        if self.committed_rows == 0:
            self._close_journal()
            self._remove()
            return
        self._features.seal()
        self._time.seal()
        header = read_stream_header(self._folder.parents[1])
        journal = (self._folder / layout.COMMITS).read_bytes()
        write_seal(self._folder, header, self.committed_rows, journal)
        self._close_journal()

    def _remove(self) -> None:
        """Take away a part nothing was committed to."""
        self._features.close()
        self._time.close()
        for path in sorted(self._folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self._folder.rmdir()


@contextmanager
def locked_part(part: Path) -> Iterator[bool]:
    """Hold the lock of a part's writer; yields False if a living writer has it.

    What a file system without locks grants to everyone ``compact`` makes up for, by leaving parts
    alone that were written to of late.
    """
    try:
        descriptor = os.open(part / layout.COMMITS, os.O_RDWR)
    except FileNotFoundError:
        yield True  # its writer was killed before it made the journal, or is about to make it
        return
    try:
        yield take_lock(descriptor)
    finally:
        os.close(descriptor)
