"""One append-only file that is a flat row array while it grows and a Zarr v3 shard once sealed.

Rows are uncompressed and in order, so the inner chunks of the shard lie one behind the other and
row r starts at byte r * row_bytes: a reader may map the file as one array. ``seal`` pads the last
chunk and appends the shard index (offset and length of each chunk, uint64, then crc32c), which
makes the same bytes a `sharding_indexed` shard for every Zarr v3 reader.

Source of the shard layout: zarr-specs v3, codec "sharding_indexed", index at the end.
"""

import os
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache_schema.layout import CHUNK_ROWS

__all__ = ["ShardFile", "index_bytes", "num_chunks", "shard_end", "shard_metadata"]


def num_chunks(num_rows: int) -> int:
    """Count the inner chunks that hold ``num_rows`` rows."""
    return -(-num_rows // CHUNK_ROWS)


def index_bytes(num_rows: int, row_bytes: int) -> bytes:
    """Return the shard index of a sealed file: (offset, length) per chunk and a crc32c."""
    chunk_bytes = CHUNK_ROWS * row_bytes
    offsets = np.arange(num_chunks(num_rows), dtype="<u8") * np.uint64(chunk_bytes)
    table = np.stack([offsets, np.full_like(offsets, chunk_bytes)], axis=1).astype("<u8").tobytes()
    return table + int(google_crc32c.value(table)).to_bytes(4, "little")


def shard_end(num_rows: int, row_bytes: int) -> bytes:
    """Return what follows the rows of a sealed file: zeros that fill the last chunk, the index."""
    missing = num_chunks(num_rows) * CHUNK_ROWS - num_rows
    return bytes(missing * row_bytes) + index_bytes(num_rows, row_bytes)


class ShardFile:
    """The growing file. One process writes it, once; readers see what its journal commits."""

    def __init__(self, path: Path, row_bytes: int) -> None:
        path.parent.mkdir(parents=True)  # whoever makes the part waits for the folders' names
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._row_bytes = row_bytes
        self.num_rows = 0

    def append(self, rows: NDArray[np.generic]) -> None:
        """Write rows (C-contiguous) behind the last one; nothing is durable before ``sync``."""
        self._write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self.num_rows += len(rows)

    def sync(self) -> None:
        """Wait until all rows written so far are on disk."""
        os.fsync(self._descriptor)

    def rewind(self, num_rows: int) -> None:
        """Drop the rows from ``num_rows`` on: the video they belong to failed."""
        end = num_rows * self._row_bytes
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, end, os.SEEK_SET)
        self.num_rows = num_rows

    def seal(self) -> None:
        """Make the file a complete Zarr shard and close it."""
        self._write(memoryview(shard_end(self.num_rows, self._row_bytes)))
        self.sync()
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._descriptor, view) :]


def shard_metadata(num_rows: int, row_shape: tuple[int, ...], dtype: str) -> dict[str, object]:
    """Return the zarr.json of an array that is one sealed shard."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    inner = [CHUNK_ROWS, *row_shape]
    sharding = {
        "chunk_shape": inner,
        "codecs": [little],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    outer = [num_chunks(num_rows) * CHUNK_ROWS, *row_shape]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [num_rows, *row_shape],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": outer}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if dtype.startswith("uint") else 0.0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "storage_transformers": [],
    }
