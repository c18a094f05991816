"""A file's bytes as HDF5 would see them after a clean close, whatever its writer does.

HDF5 opens a file that bears a writer's mark for SWMR reading only, and then reads metadata that
does not match its checksum again and again, a hundred times with doubled pauses: practically for
ever. One changed bit would hang every reader. So readers see the file through this view, whose
superblock bears no mark and ends where the file does. What is damaged is then an error at once;
what a living writer is in the middle of is looked at again by ``rows.look``.
"""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cache_schema.hdf5_backend.superblock import SUPERBLOCK_BYTES, as_closed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["ClosedView"]


class ClosedView(io.RawIOBase):
    """Read-only; what HDF5 asks of a Python file, and no more."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = path.open("rb", buffering=0)
        size = os.fstat(self._file.fileno()).st_size
        self._superblock = as_closed(self._file.read(SUPERBLOCK_BYTES) or b"", size)

    def __repr__(self) -> str:
        return str(self._path)  # HDF5 takes it for the file's name

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See ``io``."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See ``io``."""
        return self._file.tell()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """See ``io``; a block that ends behind the file is filled with zeros."""
        target = memoryview(buffer).cast("B")
        at, filled = self._file.tell(), 0
        while filled < len(target) and (count := self._file.readinto(target[filled:])):
            filled += count
        target[filled:] = bytes(len(target) - filled)
        if at < len(self._superblock):
            part = self._superblock[at : at + len(target)]
            target[: len(part)] = part
        return len(target)

    def flush(self) -> None:
        """Do nothing: there is nothing to write."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
