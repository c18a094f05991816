"""Write a store in a bucket: every commit is a part of its own, made of objects that never change.

Nothing can be appended to an object, so rows wait in a temporary file until their video is
complete. Then all objects of a part are put, side by side, and its journal last, which is the
commit: whatever instant the writer is killed, the part is there as a whole or not at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import ConfigError, StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.part import SpooledPart
from cache_schema.object_backend.reader import (
    check_object_store,
    read_object_header,
)
from cache_schema.place import Address
from cache_schema.records import VideoRecord
from cache_schema.stored_numbers import Array
from cache_schema.stream import Stream
from cache_schema.writing.part_names import PartNames
from cache_schema.writing.pending import PendingVideo, check_same_stream, check_stream_name
from cache_schema.writing.write_errors import write_errors
from cache_schema.zarr_backend.headers import StreamHeader, group, root_attributes, to_text
from cache_schema.zarr_backend.stream_writers import StreamWriters

__all__ = ["ObjectStoreWriter", "ObjectStreamWriter"]


class ObjectStreamWriter:
    """Append videos of one stream, one at a time; each commits by itself.

    A writer makes its own parts and never touches another's, so any number of them may work on
    one stream.
    """

    def __init__(
        self, bucket: Bucket, stream: str, header: StreamHeader, *, part_bytes: int = 0
    ) -> None:
        """Begin; nothing is put.

        Args:
            bucket: Of the store.
            stream: Its name.
            header: What all its rows have in common.
            part_bytes: A part is put once its features have this size; by default each video is.
                With more, a commit lasts from the end of its part, or ``close``, on: only for
                copies of what is elsewhere.
        """
        self._bucket = bucket
        self._folder = f"{stream}/{layout.PARTS}"
        self._header = header
        self._part_bytes = part_bytes
        where = f"{bucket.address}/{stream}"
        self._where = where
        self._pending = PendingVideo(where, header.row_shape, header.recipe.store_dtype)
        self._part: SpooledPart | None = None
        self._names = PartNames()
        self.parts: list[str] = []
        """The ids of all parts this writer put, or tried to."""

    def append(self, values: Array, *, are_finite: bool = False) -> None:
        """Add rows to the current video; nothing is visible before ``commit``.

        Args:
            values: (rows, *row_shape) in the stored dtype (uint16 bits for bfloat16).
            are_finite: Whether the caller has made sure of that, so that nobody looks again.

        Raises:
            StoreError: on another dtype or shape, numbers that are not finite, or if there is no
                room for temporary files.
        """
        rows = self._pending.checked(values, are_finite=are_finite)
        with self._forgetting_a_failed_part():
            if self._part is None:
                self._part = SpooledPart(self._header)
            self._part.append(rows)
            self._pending.count(rows)

    def commit(self, video: VideoRecord, times_R2: NDArray[np.float64]) -> None:
        """Make the rows appended since the last commit durable and visible as ``video``.

        Args:
            video: The record to remember.
            times_R2: Start and end second of each of these rows.

        Raises:
            StoreError: if no row was appended, their number is not that of the times, or the part
                cannot be written.
        """
        times_R2 = self._pending.check_times(video, times_R2)
        assert self._part is not None  # there are rows, so there is a part
        line = self._pending.line(video, self._part.committed_rows, times_R2)
        with self._forgetting_a_failed_part():
            self._part.commit(line, times_R2)
            self._pending.clear()
            if self._part.num_bytes >= self._part_bytes:
                self._put()

    def abandon(self) -> None:
        """Forget the rows appended since the last commit."""
        self._pending.clear()
        if self._part is not None:
            with self._forgetting_a_failed_part():
                self._part.abandon()

    def close(self) -> None:
        """Forget pending rows, and put what was committed and is not put yet."""
        self.abandon()
        if self._part is not None:
            with self._forgetting_a_failed_part():
                if self._part.committed_rows:
                    self._put()
                self._forget()

    def discard(self) -> None:
        """Forget also what was committed and is not put yet."""
        self._pending.clear()
        self._forget()

    def _put(self) -> None:
        assert self._part is not None
        part_id = self._names.new()
        self.parts.append(part_id)
        self._part.put(self._bucket, f"{self._folder}/{part_id}")
        self._forget()

    def _forget(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    @contextmanager
    def _forgetting_a_failed_part(self) -> Iterator[None]:
        """Stay usable after a failed write, or Ctrl-C: what comes next goes to a new part."""
        try:
            with write_errors(self._where):
                yield
        except BaseException:
            self._pending.clear()
            self._forget()
            raise


class ObjectStoreWriter(StreamWriters[ObjectStreamWriter]):
    """A store in a bucket, open for writing."""

    def __init__(self, address: Address, *, part_bytes: int = 0) -> None:
        super().__init__(str(address))
        if address.scheme in ("http", "https"):
            raise ConfigError(
                f"{address}: a web server takes no rows. Write to a folder or a bucket (a server "
                "that speaks S3: s3+http://)."
            )
        self._bucket = Bucket(address)
        self._part_bytes = part_bytes
        _make_store(self._bucket)

    def _open_stream(self, name: str, header: StreamHeader) -> ObjectStreamWriter:
        found = _make_stream(self._bucket, name, header)
        return ObjectStreamWriter(self._bucket, name, found, part_bytes=self._part_bytes)


def _make_store(bucket: Bucket) -> None:
    """Make an empty store, or check the one that is there.

    Raises:
        StoreError: if something else lies at the address.
    """
    if bucket.get(layout.ZARR_JSON) is None:
        if bucket.folders():
            raise StoreError(
                f"{bucket.address}: objects lie below this address and no feature store. Choose "
                "another --out."
            )
        bucket.put_new(layout.ZARR_JSON, _document(root_attributes()))
    check_object_store(bucket)


def _make_stream(bucket: Bucket, name: str, header: StreamHeader) -> StreamHeader:
    """Make a stream; of two writers at one instant one does, and the other is checked.

    Raises:
        RecipeMismatchError: if the stream is there and was made another way.
    """
    check_stream_name(name)
    found = read_object_header(bucket, name)
    if found is None:
        bucket.put_new(f"{name}/{layout.ZARR_JSON}", _document(header.attributes()))
        found = read_object_header(bucket, name)
        assert found is not None
    stored = Stream(name, found.recipe, found.row_shape, ())
    check_same_stream(str(bucket.address), stored, header.recipe, header.row_shape)
    copy = f"{name}/{layout.PARTS}/{layout.ZARR_JSON}"
    bucket.put_new(copy, _document(found.parts_attributes()))
    return found


def _document(attributes: dict[str, object]) -> bytes:
    return to_text(group(attributes)).encode()
