"""A bounded folder on this machine's disk that keeps blocks of objects between runs.

    FOLDER/lock                           held while room is made
    FOLDER/<store>/in-use                 held, shared, by every process that reads the store
    FOLDER/<store>/<object>/<version>    a ``CachedObject``

Names are digests; ``in-use`` holds the store's address. Room is made by removing copies of stores
that no process reads, those not used for longest first, so no reader ever loses a block. What is in
use stays, also where it fills the cache: an epoch that is read in another order each time would
else push out what the next one needs, and find nothing.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from cache_schema.object_backend.cached_object import CachedObject
from cache_schema.open_files import allow_many_files
from cache_schema.place import Address

__all__ = ["CacheCounts", "DiskCache", "StoreCopies"]

logger = logging.getLogger(__name__)

GRANT_BYTES = 64 * 2**20
"""Most room that a process takes at a time, a sixteenth of a small cache; several who take some at
once may go beyond the size by so much each."""
FREE_BYTES = 2 * 2**30
"""What is left free of the disk for others."""
FULL_SECONDS = 60.0
"""How long a full cache is taken for full."""

LOCK = "lock"
IN_USE = "in-use"


@dataclass(slots=True)
class CacheCounts:
    """What was read in this process, and where it came from."""

    read_bytes: int = 0
    """Bytes that readers asked for."""
    missed_bytes: int = 0
    """Those of them that were not on the disk when they were asked for first."""
    fetched_bytes: int = 0
    """What came from the bucket: whole blocks."""
    lock: Lock = field(default_factory=Lock)

    @property
    def hit_rate(self) -> float | None:
        """Share of the bytes that were asked for which came from the disk; None without any."""
        return 1 - self.missed_bytes / self.read_bytes if self.read_bytes else None


class DiskCache:
    """Copies of objects below one folder, up to a size. Picklable; a copy counts for itself."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        """Remember where it lies; nothing is made.

        Args:
            folder: Of all stores' copies, shared by the processes of this machine.
            size_bytes: Room that the copies may take.
        """
        self.folder = folder
        self.size_bytes = size_bytes
        self._begin()

    def _begin(self) -> None:
        self.counts = CacheCounts()
        self._granted = 0  # bytes that may be taken at once
        self._coming = 0  # bytes that were taken and are not on the disk yet
        self._full_until = 0.0
        self._is_off = False
        self._has_said_full = False
        self._lock = Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "size_bytes": self.size_bytes}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()

    def copies(self, address: Address) -> "StoreCopies":
        """Return the copies of a store's objects, which stay until it is forgotten."""
        return StoreCopies(self, self.folder / _digest(str(address)), address)

    @property
    def is_off(self) -> bool:
        """Whether something went wrong with the disk, so that nothing more is written."""
        return self._is_off

    def turn_off(self, error: OSError) -> None:
        """Write no more; says so once."""
        if not self._is_off:
            self._is_off = True
            logger.warning(
                "warning: %s: features are no longer kept on this machine (%s). Reading goes on, "
                "each time from the bucket; free some room, or set [train.cache] folder.",
                self.folder,
                error.strerror or error,
            )

    def take(self, num_bytes: int) -> bool:
        """Take room that will be filled; False if there is none."""
        with self._lock:
            if self._granted < num_bytes and not self._is_off:
                try:
                    self._granted += self._make_room(num_bytes)
                except OSError as error:
                    self.turn_off(error)
            if self._is_off or self._granted < num_bytes:
                return False
            self._granted -= num_bytes
            self._coming += num_bytes
            return True

    def give_back(self, num_bytes: int) -> None:
        """Say that room which was taken is filled, or will not be."""
        with self._lock:
            self._coming -= num_bytes

    def _make_room(self, num_bytes: int) -> int:
        """Return how many bytes more may be written, after removing what nobody uses."""
        if time.monotonic() < self._full_until:
            return 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / LOCK):
            copies = sorted(_copies(self.folder))
            free = shutil.disk_usage(self.folder).free - FREE_BYTES
            room = min(self.size_bytes - sum(one.num_bytes for one in copies), free)
            room -= self._coming + self._granted
            wanted = max(num_bytes, min(GRANT_BYTES, self.size_bytes // 16))
            room += _removed(copies, wanted - room)
        if room < num_bytes:
            self._full_until = time.monotonic() + FULL_SECONDS
            self._say_full()
            return 0
        return min(room, wanted)

    def _say_full(self) -> None:
        if not self._has_said_full:
            self._has_said_full = True
            logger.warning(
                "warning: %s: is full (%.3g GB, or the disk). What it does not hold is read from "
                "the bucket each time; set [train.cache] gigabytes, or another folder.",
                self.folder,
                self.size_bytes / 1e9,
            )


class StoreCopies:
    """Copies of one store's objects; other processes remove none of them while this is there."""

    def __init__(self, cache: DiskCache, folder: Path, address: Address) -> None:
        self.cache = cache
        self._folder = folder
        self._descriptor: int | None = None
        allow_many_files()  # two for each part; what cannot be opened is read from the bucket
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            os.pwrite(self._descriptor, f"{address}\n".encode(), 0)
        except OSError as error:
            cache.turn_off(error)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)  # and with it the lock

    def copy(self, key: str, version: str, size: int) -> CachedObject:
        """Return the copy of an object; those of what had its name before are removed.

        Args:
            key: Its name.
            version: What tells it from all others of this name.
            size: Of the object in bytes.
        """
        folder, name = self._folder / _digest(key), _digest(f"{size} {version}")
        try:
            folder.mkdir(exist_ok=True)
            for other in folder.iterdir():
                if other.name != name:
                    other.unlink(missing_ok=True)
        except OSError as error:
            self.cache.turn_off(error)
        return CachedObject(folder / name, size)


@dataclass(frozen=True, order=True, slots=True)
class _Copy:
    used: float
    path: Path
    num_bytes: int


def _copies(folder: Path) -> Iterator[_Copy]:
    for path in folder.glob("*/*/*"):
        with suppress(FileNotFoundError):  # another process removes it
            status = path.stat()
            yield _Copy(status.st_mtime, path, status.st_blocks * 512)


def _removed(copies: list[_Copy], wanted: int) -> int:
    """Remove copies in this order until so many bytes are free, or none may go; return how many."""
    freed = 0
    for one in copies:
        if freed >= wanted:
            break
        with _unused(one.path.parent.parent) as is_unused:
            if is_unused:
                one.path.unlink(missing_ok=True)
                freed += one.num_bytes
    return freed


@contextmanager
def _unused(store: Path) -> Iterator[bool]:
    """Keep others from beginning to read a store, if none does so already."""
    with _descriptor(store / IN_USE) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with _descriptor(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    """Open a file, and let go of it and of what is locked by it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing does not, while a forked process has it
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
