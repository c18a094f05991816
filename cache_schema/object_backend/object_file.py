"""An object as a file that is read and sought in, by ranges, whatever its size.

A server that sends whole objects only is asked for all of it once, into a temporary file.
"""

import io
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import IO
from urllib.parse import unquote

from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket, NoRangesError, StoredObject
from cache_schema.place import Address
from cache_schema.writing.write_errors import write_errors

__all__ = ["ObjectFile", "key_of", "object_facts"]

BLOCK_BYTES = 2**20
BLOCKS_AHEAD = 4
MOST_BLOCKS = 16
"""Kept and coming, of one file: containers jump between an index, pictures and sound."""
MOST_SPOOLED_BYTES = 16 * 2**30
"""Of a file whose server sends no ranges; larger ones are refused."""
RETRY_SECONDS = 25
"""With the last try, which may take as long, less than a decoder may be silent before it is taken
for hung."""

SIZE_CHANGED = "changed size while it was read. Run the command again."


def key_of(address: Address) -> str:
    """Return an object's name among those beside it; a web server's addresses spell it out."""
    return unquote(address.name) if address.scheme in ("http", "https") else address.name


def _parent(address: Address) -> Address:
    return Address(address.url.rpartition("/")[0])


def object_facts(address: Address) -> StoredObject | None:
    """Return an object's size, age and version; None if there is none.

    Raises:
        StoreError: if it cannot be asked.
    """
    return Bucket(_parent(address)).facts(key_of(address))


class ObjectFile(io.RawIOBase):
    """One version of an object; reading raises ``StoreError`` once there is another."""

    def __init__(self, address: Address) -> None:
        """Ask for the size; nothing is read.

        Args:
            address: Of the object. With a version, that one is meant.

        Raises:
            StoreError: if it is not there, or is another version than the address says.
        """
        super().__init__()
        self._bucket = Bucket(_parent(address), retry_seconds=RETRY_SECONDS)
        self._name = key_of(address)
        facts = self._bucket.facts(self._name)
        if facts is None:
            raise StoreError(f"{address}: is not there (any more).")
        if address.version and facts.version != address.version:
            raise StoreError(f"{address}: was replaced since it was found. Run the command again.")
        self._bucket.pin(self._name, facts.version)
        self._size = facts.num_bytes
        self._at = 0
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._spool: IO[bytes] | None = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be sought in."""
        return True

    def tell(self) -> int:
        """Return the next byte's number."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, none at the end.

        Raises:
            StoreError: if they cannot be read, or the object was replaced.
        """
        end = self._size if size < 0 else min(self._size, self._at + size)
        pieces = []
        while self._at < end:
            pieces.append(self._piece(end))
            self._at += len(pieces[-1])
        return b"".join(pieces)

    def read_spans(self, spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the bytes of each span of first byte and the one behind the last.

        Nothing else is fetched or kept, and the spans behind the first come side by side. The
        first alone tells whether the server sends ranges.

        Raises:
            StoreError: as ``read`` does.
        """
        try:
            yield from self._spans(spans[:1])
        except NoRangesError:
            self._spool = self._whole()
            for start, end in spans:
                self._spool.seek(start)
                yield self._spool.read(end - start)
            return
        yield from self._spans(spans[1:])

    def _spans(self, spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        coming = self._bucket.fetch(self._name, spans)
        for (start, end), future in zip(spans, coming, strict=True):
            yield self._checked(future.result(), end - start)

    def _checked(self, data: bytes, num_bytes: int) -> bytes:
        if len(data) != num_bytes:
            raise StoreError(f"{self._bucket.address}/{self._name}: {SIZE_CHANGED}")
        return data

    def close(self) -> None:
        """Let go of what was fetched."""
        if not self.closed and self._spool is not None:
            self._spool.close()
        super().close()

    def _piece(self, end: int) -> bytes:
        number, skipped = divmod(self._at, BLOCK_BYTES)
        if self._spool is None:
            try:
                return self._block(number)[skipped : skipped + end - self._at]
            except NoRangesError:
                self._spool = self._whole()
        self._spool.seek(self._at)
        return self._spool.read(min(BLOCK_BYTES, end - self._at))

    def _whole(self) -> IO[bytes]:
        where = f"{self._bucket.address}/{self._name}"
        if self._size > MOST_SPOOLED_BYTES:
            raise StoreError(
                f"{where}: has {self._size / 2**30:.0f} GiB, and its server sends no ranges. "
                "Download it, or put it into a bucket."
            )
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        with ExitStack() as undo:
            undo.callback(spool.close)
            with write_errors(where):
                self._bucket.copy_to(self._name, spool)
            if spool.tell() != self._size:
                raise StoreError(f"{where}: {SIZE_CHANGED}")
            undo.pop_all()
        return spool

    def _block(self, number: int) -> bytes:
        is_next = number - 1 in self._blocks or number == 0
        for wanted in range(number, number + (BLOCKS_AHEAD if is_next else 0) + 1):
            self._start(wanted)
        expected = min(BLOCK_BYTES, self._size - number * BLOCK_BYTES)
        return self._checked(self._blocks[number].result(), expected)

    def _start(self, number: int) -> None:
        """Begin to fetch a block, unless it is here or behind the end."""
        start = number * BLOCK_BYTES
        if start >= self._size:
            return
        if number not in self._blocks:
            span = (start, min(start + BLOCK_BYTES, self._size))
            (self._blocks[number],) = self._bucket.fetch(self._name, [span])
        self._blocks.move_to_end(number)
        while len(self._blocks) > MOST_BLOCKS:
            self._blocks.popitem(last=False)
