"""One object's copy on this machine's disk: a sparse file, filled block by block, read by a map.

Behind the object's bytes lies a mark for each block: its CRC32C once it is here, zeros before. A
block is written before its mark, so whoever is killed in between leaves no block; that a machine
which lost its power may have kept the mark alone is seen by the checksum, which is compared once in
each process. Two processes that fetch one block write the same bytes to the same place.
"""

import mmap
import os
import struct
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_BYTES", "CachedObject"]

BLOCK_BYTES = 256 * 2**10
"""What is kept as one. A window seldom ends where a block does: larger ones would fetch much that
is not read yet, smaller ones would be many."""

MARK = struct.Struct("<II")
"""CRC32C of a block, and 1."""

Bytes = NDArray[np.uint8]


class CachedObject:
    """Blocks of one object in one file, for any number of processes and threads."""

    def __init__(self, path: Path, size: int) -> None:
        """Remember where it lies; nothing is opened.

        Args:
            path: Its file, in a folder that is there; named after all that identifies the object.
            size: Bytes of the object.
        """
        self.size = size
        self.num_blocks = -(-size // BLOCK_BYTES)
        self._path = path
        self._marks_at = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._file_bytes = self._marks_at + self.num_blocks * MARK.size
        self._map: mmap.mmap | None = None
        self.bytes: Bytes | None = None
        """A map of the object, which holds what was put; None before there is any."""
        self.is_checked = bytearray(self.num_blocks)
        """1 where this process has seen the block's checksum to be right."""

    def bounds(self, block: int) -> tuple[int, int]:
        """Return the first byte of a block, and the one behind its last."""
        return block * BLOCK_BYTES, min((block + 1) * BLOCK_BYTES, self.size)

    def has(self, block: int) -> bool:
        """Tell whether a block seems to be here, by its mark alone."""
        return bool(self.is_checked[block]) or self._mark(block)[1] == 1

    def is_here(self, start: int, end: int) -> bool:
        """Tell whether all blocks that hold these bytes are here and were checked."""
        first, last = start // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        return self.is_checked.find(0, first, last) < 0

    def view(self, start: int, end: int) -> Bytes:
        """Return a view of bytes that are here."""
        assert self.bytes is not None
        return self.bytes[start:end]

    def check(self, block: int) -> bool:
        """Tell whether a block is here with the bytes that were fetched; forget it if not."""
        if not self.is_checked[block]:
            checksum, is_there = self._mark(block)
            if is_there != 1:
                return False
            start, end = self.bounds(block)
            if google_crc32c.value(self.view(start, end)) != checksum:
                self._write(self._marks_at + block * MARK.size, bytes(MARK.size))
                return False
            self.is_checked[block] = 1
        return True

    def put(self, first_block: int, data: bytes) -> None:
        """Keep consecutive blocks.

        Args:
            first_block: Where they begin.
            data: All bytes of each.

        Raises:
            OSError: if they cannot be written, for want of room or anything else.
        """
        blocks = (data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES))
        marks = b"".join(MARK.pack(google_crc32c.value(block), 1) for block in blocks)
        self._write(first_block * BLOCK_BYTES, data)
        self._write(self._marks_at + first_block * MARK.size, marks)

    def _write(self, at: int, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if os.fstat(descriptor).st_size < self._file_bytes:
                os.truncate(descriptor, self._file_bytes)  # grows it, by zeros, which harm nobody
            left = memoryview(data)
            while left:  # the last room of a disk takes a part, and only then there is an error
                count = os.pwrite(descriptor, left, at)
                left, at = left[count:], at + count
        finally:
            os.close(descriptor)

    def will_need(self, start: int, end: int) -> None:
        """Tell the system that these bytes are about to be read."""
        if self._map is not None:
            first = start // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, first, min(end, self.size) - first)

    def _mark(self, block: int) -> tuple[int, int]:
        if self._map is None and not self._open():
            return 0, 0
        assert self._map is not None
        checksum, is_there = MARK.unpack_from(self._map, self._marks_at + block * MARK.size)
        return checksum, is_there

    def _open(self) -> bool:
        """Map the file, if there is one."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._file_bytes:
                    return False  # made by another process a moment ago
                os.utime(self._path)  # used now: what was not used for longest goes first
                found = mmap.mmap(file.fileno(), self._file_bytes, access=mmap.ACCESS_READ)
        except OSError:  # what cannot be opened holds nothing
            return False
        self.bytes = np.frombuffer(found, np.uint8, self.size)
        self._map = found
        return True
