"""A part on its way into a bucket: rows in a temporary file, then all of its objects."""

import math
import tempfile
import time
from concurrent.futures import wait
from contextlib import suppress
from tempfile import SpooledTemporaryFile

import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket, requests
from cache_schema.object_backend.rows import shard_key
from cache_schema.stored_numbers import Array
from cache_schema.writing.write_errors import write_errors
from cache_schema.zarr_backend.headers import StreamHeader, group, part_attributes, to_text
from cache_schema.zarr_backend.seal import array_documents, copy_of
from cache_schema.zarr_backend.shard import shard_end

__all__ = ["LONGEST_PUT_SECONDS", "SpooledPart"]

MEMORY_BYTES = 16 * 2**20
"""Rows up to this size wait in memory, more of them in a temporary file (TMPDIR)."""

LONGEST_PUT_SECONDS = 24 * 3600
"""A part that takes longer is not committed: what a compaction put in its place may be gone."""


class SpooledPart:
    """The part a writer is filling; nothing of it is in the bucket before ``put``."""

    def __init__(self, header: StreamHeader) -> None:
        self._header = header
        dtype = np.dtype(layout.STORED_DTYPE[header.recipe.store_dtype])
        self._row_bytes = dtype.itemsize * math.prod(header.row_shape)
        self._features = SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - see close
        self._times: list[bytes] = []
        self._lines: list[bytes] = []
        self.committed_rows = 0

    @property
    def num_bytes(self) -> int:
        """Bytes of the features that were committed."""
        return self.committed_rows * self._row_bytes

    def append(self, rows: Array) -> None:
        """Add rows of the current video, contiguous and little-endian.

        Raises:
            StoreError: if there is no room for temporary files.
        """
        with write_errors(tempfile.gettempdir()):
            self._features.write(rows.tobytes())

    def commit(self, line: bytes, times_R2: NDArray[np.float64]) -> None:
        """Take the rows since the last commit for those of a video."""
        self._times.append(times_R2.tobytes())
        self._lines.append(line)
        self.committed_rows += len(times_R2)

    def abandon(self) -> None:
        """Forget the rows since the last commit."""
        self._features.seek(self.num_bytes)
        self._features.truncate()

    def close(self) -> None:
        """Forget everything."""
        self._features.close()

    __del__ = close  # a writer nobody closed is no reason for a warning about its temporary file

    def put(self, bucket: Bucket, folder: str) -> None:
        """Put the objects of the part, its journal last; all of them or, to readers, none.

        Raises:
            StoreError: if one cannot be written. If that is the journal, nobody knows whether it
                was: everything stays, and either it is committed or a compaction takes it away.
        """
        started = time.time()  # which goes on while a machine sleeps; time.monotonic does not
        journal = b"".join(self._lines)
        objects = self._documents(folder, journal)
        features = shard_key(folder, layout.FEATURES, ndim=1 + len(self._header.row_shape))
        keys = [*objects, features]
        try:
            self._put_all(bucket, objects, features)
        except StoreError:
            _remove(bucket, keys)
            raise
        is_late = time.time() - started > LONGEST_PUT_SECONDS
        if is_late or not bucket.put_new(f"{folder}/{layout.COMMITS}", journal):
            _remove(bucket, keys)
            raise StoreError(
                f"{bucket.address}/{folder}: was taken away by a compaction, which took it for "
                "what a killed writer had left. Run the same command again."
            )

    def _put_all(self, bucket: Bucket, objects: dict[str, bytes], features: str) -> None:
        sent = [requests().submit(bucket.put, key, data) for key, data in objects.items()]
        self._features.write(shard_end(self.committed_rows, self._row_bytes))
        try:
            bucket.put(features, self._features)  # here: its pieces are sent by other threads
        finally:
            wait(sent)
        for one in sent:
            one.result()

    def _documents(self, folder: str, journal: bytes) -> dict[str, bytes]:
        """Return all objects of the part by their names, but features and journal."""
        rows = self.committed_rows
        end = shard_end(rows, 16)
        texts = {
            layout.ZARR_JSON: group(part_attributes(rows, journal)),
            **{
                f"{name}/{layout.ZARR_JSON}": document
                for name, document in array_documents(self._header, rows).items()
            },
        }
        return {
            shard_key(folder, layout.TIME, ndim=2): b"".join(self._times) + end,
            f"{folder}/{layout.COMMITS_COPY}": copy_of(self._header, journal),
            **{f"{folder}/{name}": to_text(text).encode() for name, text in texts.items()},
        }


def _remove(bucket: Bucket, keys: list[str]) -> None:
    with suppress(StoreError):
        bucket.remove(keys)
