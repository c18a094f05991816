"""The journal of one part as a reader keeps it: what is asked of every video; the rest on request.

A record is a kilobyte of Python objects and takes ten microseconds to make, so a million of them
would cost ten seconds and a gigabyte. Every line is checked when the store is opened, its form
included; records are made from the file again, when they are asked for. The journal stays the only
truth.
"""

import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, islice
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import msgspec

from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.records import (
    Commit,
    VideoRecord,
    checked_texts,
    damaged_line,
    parse_commit,
)

__all__ = ["BLOCK_BYTES", "Journal", "Listed", "decode_journal", "open_journal"]

T = TypeVar("T")

BLOCK_BYTES = 2**20
BLOCK_LINES = 2**12
FRAME_BYTES = 10
"""Of a line around its text: checksum, space and newline."""


def _struct(record: type[T], **others: object) -> type[T]:
    """Return what msgspec fills in a record's place: the same fields, and types but for others."""
    types = [(one.name, others.get(one.name, one.type)) for one in fields(record)]  # type: ignore[arg-type]
    made = msgspec.defstruct(record.__name__, types, forbid_unknown_fields=True, gc=False)
    return cast("type[T]", made)


# Twenty times faster than making records.
_DECODER = msgspec.json.Decoder(_struct(Commit, video=_struct(VideoRecord, fps=str)))
FRACTION = re.compile(r"[0-9]+(/[1-9][0-9]*)?", re.ASCII)


class Listed(NamedTuple):
    """A video in a list of all."""

    id: str
    num_rows: int
    duration_seconds: float
    path: str
    digest: str


class Journal:
    """The commits of one part, in the order of their rows. Picklable."""

    def __init__(
        self, blocks: Iterable[bytes], read: Callable[[int, int], bytes], *, where: str
    ) -> None:
        """Check every line and keep what readers ask of all videos.

        Args:
            blocks: All bytes of the journal, cut anywhere.
            read: Returns ``size`` bytes from byte ``start`` on, now or later.
            where: For messages.

        Raises:
            StoreCorruptError: if a line before the last is damaged, or one is of another form.
        """
        self.ids: list[str] = []
        self.first_rows: array[int] = array("q")
        self.num_rows: array[int] = array("q")
        self.size_bytes: array[int] = array("q")
        """Of the video files."""
        self.time_crc32c: array[int] = array("I")
        self._ends: array[int] = array("q", [0])
        self._read = read
        self._where = where
        for texts in checked_texts(blocks, where=where):
            self._add(texts)

    def _add(self, texts: Sequence[bytes]) -> None:
        lines = self._lines(texts, len(self) + 1)
        try:
            self.first_rows.extend([line.first_row for line in lines])
            self.num_rows.extend([line.num_rows for line in lines])
            self.size_bytes.extend([line.video.size_bytes for line in lines])
            self.time_crc32c.extend([line.time_crc32c for line in lines])
        except OverflowError as error:
            raise StoreCorruptError(
                f"{self._where}: a number in line {len(self) + 1} or behind it is too large. "
                "Restore the file, or remove the part and extract its videos again."
            ) from error
        self.ids.extend([line.video.id for line in lines])
        sizes = [len(text) + FRAME_BYTES for text in texts]
        self._ends.extend(list(accumulate(sizes, initial=self._ends[-1]))[1:])

    def _lines(self, texts: Sequence[bytes], first: int) -> Sequence[Commit]:
        """Return what lines from ``first`` on say, as a rule not in records but in their words."""
        try:
            return _decoded(texts)
        except ValueError:  # the records say what is wrong, if anything is
            return [
                parse_commit(text, where=self._at(number))
                for number, text in enumerate(texts, start=first)
            ]

    def _at(self, number: int) -> str:
        return f"{self._where}: line {number}"

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Commit]:
        """Yield every commit, in memory that does not grow with their number.

        Raises:
            StoreError: if the journal went or was damaged since it was opened.
        """
        for number, text in enumerate(self._texts(), start=1):
            yield parse_commit(text, where=self._at(number))

    def listing(self) -> Iterator[Listed]:
        """Yield what is listed of every video, much faster than commits; raises as they do."""
        texts = self._texts()
        for first in range(1, len(self) + 1, BLOCK_LINES):
            for line in self._lines(list(islice(texts, BLOCK_LINES)), first):
                video = line.video
                seconds = video.duration_seconds
                yield Listed(video.id, line.num_rows, seconds, video.path, video.digest)

    def _texts(self) -> Iterator[bytes]:
        """Yield the texts of all lines that were there when the journal was opened."""
        number = 0
        for texts in checked_texts(self._blocks(), where=self._where):
            yield from texts
            number += len(texts)
        if number < len(self):
            raise damaged_line(self._where, number + 1)

    def _blocks(self) -> Iterator[bytes]:
        for start in range(0, self.num_bytes, BLOCK_BYTES):
            yield self._read(start, min(BLOCK_BYTES, self.num_bytes - start))

    def commit(self, at: int) -> Commit:
        """Return the commit of line ``at``, counted from 0.

        Raises:
            StoreError: if the journal went or was damaged since it was opened.
        """
        start, end = self._ends[at], self._ends[at + 1]
        for texts in checked_texts([self._read(start, end - start)], where=self._where):
            for text in texts:
                return parse_commit(text, where=self._at(at + 1))
        raise damaged_line(self._where, at + 1)

    @property
    def num_bytes(self) -> int:
        """Bytes up to the end of the last commit's line."""
        return self._ends[-1]

    @property
    def end_row(self) -> int:
        """The row behind the last committed one."""
        return max(map(sum, zip(self.first_rows, self.num_rows, strict=True)), default=0)


def open_journal(path: Path) -> Journal:
    """Return the journal of one part of a Zarr store; empty if there is no file yet.

    Raises:
        StoreCorruptError: if it is damaged.
    """
    return Journal(_blocks(path), _File(path).read, where=str(path))


def decode_journal(data: bytes, *, where: str) -> tuple[Journal, bytes]:
    """Return the commits of a journal's bytes, and what follows the last of them.

    Raises:
        StoreCorruptError: if a line before the last is damaged.
    """
    journal = Journal([data], _Bytes(data).read, where=where)
    return journal, data[journal.num_bytes :]


def _decoded(texts: Sequence[bytes]) -> Sequence[Commit]:
    """Return what stands in for the records of lines.

    Raises:
        ValueError: if a line is no such record, or perhaps none.
    """
    lines = list(map(_DECODER.decode, texts))
    for fps in {line.video.fps for line in lines}:
        if not FRACTION.fullmatch(str(fps)):
            raise ValueError(fps)
    return lines


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except FileNotFoundError:
        return  # a writer has made the part's folder and nothing else yet


@dataclass(frozen=True, slots=True)
class _File:
    path: Path

    def read(self, start: int, size: int) -> bytes:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise StoreError(
                f"{self.path}: is gone; the store was compacted since it was opened, or is "
                "damaged. Open it again."
            ) from error
        try:
            return os.pread(descriptor, size, start)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Bytes:
    data: bytes

    def read(self, start: int, size: int) -> bytes:
        return self.data[start : start + size]
