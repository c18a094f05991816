"""What a store remembers of each video, and the journal line that commits it."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import takewhile
from pathlib import Path

import google_crc32c

from cache_schema.errors import StoreCorruptError
from cache_schema.parsing import parse, record, to_json

__all__ = [
    "RESTORE",
    "Commit",
    "VideoRecord",
    "append_line",
    "checked_texts",
    "damaged_line",
    "encode_line",
    "json_object",
    "line_of",
    "parse_commit",
    "parse_object",
    "torn_line",
]

RESTORE = "Put it back with 'vllm-store repair'."


@record
class VideoRecord:
    """One video as it was when its features were made."""

    id: str
    """Path relative to the extraction's root, without suffix, with ``/``; unique in a stream."""
    path: str
    """Where the file lay, as given on the command line."""
    digest: str
    """Content digest of the file (``extract.sources.videos``); ``unknown`` if imported."""
    size_bytes: int
    duration_seconds: float
    """End of the last frame's display, from the container's start."""
    fps: Fraction
    """Average frame rate of the file; information only, rows carry their own times."""
    num_frames: int
    """Frames that were decoded."""
    width: int
    height: int
    decoder: str
    """Backend and version that read this video, for example ``pyav 18.1.0``."""
    padded_frames: int
    """How often the last frame is repeated to fill the last window."""


@record
class Commit:
    """One video's rows in one part. A video exists in a stream when its commit line does."""

    video: VideoRecord
    first_row: int
    num_rows: int
    features_crc32c: int
    """Checksum over the rows' feature bytes, in row order."""
    time_crc32c: int


def encode_line(commit: Commit) -> bytes:
    """Return the journal line: checksum of the JSON text, a space, the JSON text, a newline."""
    return line_of(to_json(commit))


def line_of(text: str) -> bytes:
    """Return a line that proves itself: checksum of a text without newlines, a space, the text."""
    return _line(text.encode()) + b"\n"


def parse_commit(text: bytes, *, where: str) -> Commit:
    """Return the commit a line's text stands for.

    Raises:
        StoreCorruptError: if it is not of this form.
    """
    return parse(Commit, text, where=where, error=StoreCorruptError)


def checked_texts(blocks: Iterable[bytes], *, where: str) -> Iterator[list[bytes]]:
    """Yield the texts of a journal's lines, those of a block at a time; a torn last line has none.

    Args:
        blocks: The journal's bytes, cut anywhere.
        where: For messages.

    Raises:
        StoreCorruptError: if a line before the last is damaged.
    """
    number, is_damaged, tail = 0, False, b""
    for block in blocks:
        *lines, tail = (tail + block).split(b"\n")
        if is_damaged and lines:
            break
        texts = _texts(lines)
        yield texts
        number += len(texts)
        is_damaged |= len(texts) < len(lines)  # unless nothing follows: then it was never finished
        if len(texts) + 1 < len(lines):
            break
    else:
        if not (is_damaged and tail):
            return
    raise damaged_line(where, number + 1)


def _texts(lines: Sequence[bytes]) -> list[bytes]:
    """Return the texts of the lines before the first that does not match its checksum."""
    texts = [line[9:] for line in lines]
    # All at once, and one by one only if something is wrong: a store has a million of them.
    expected = (b"%08x " * len(texts)) % tuple(map(google_crc32c.value, texts))
    if b"".join([line[:9] for line in lines]) == expected:
        return texts
    pairs = takewhile(lambda pair: pair[0] == _line(pair[1]), zip(lines, texts, strict=True))
    return [text for _, text in pairs]


def _line(text: bytes) -> bytes:
    return b"%08x %s" % (google_crc32c.value(text), text)


def damaged_line(where: str, number: int) -> StoreCorruptError:
    """Return the error that names a damaged line, counted from 1."""
    return StoreCorruptError(
        f"{where}: line {number} does not match its checksum. "
        "Restore the file ('vllm-store repair' can if its part was sealed), or remove the "
        "part and extract its videos again."
    )


def torn_line(behind: bytes) -> str | None:
    """Say what is wrong with what follows the last commit, unless a killed process leaves that.

    Killed in the middle of a line, it leaves the line's beginning. A line that has its end was
    changed later, or its blocks reached the disk in another order when the power was cut.
    """
    hint = "Its video is not there: extract it again."
    if behind.endswith(b"\n"):
        return f"the last line does not match its checksum. {hint}"
    checksum, _, text = behind[:-1].partition(b" ")
    if text and checksum == b"%08x" % google_crc32c.value(text):
        return f"the last line ends in {behind[-1:]!r}, expected a newline. {hint}"
    return None


def append_line(descriptor: int, line: bytes) -> None:
    """Append one commit's line and wait until it is on disk; from then on the video exists."""
    end, left = os.fstat(descriptor).st_size, memoryview(line)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except BaseException:  # Ctrl-C as well
        os.ftruncate(descriptor, end)  # half a line is no commit, but no line may follow it
        raise


def json_object(path: Path) -> dict[str, object]:
    """Read a JSON file whose top level is an object.

    Raises:
        StoreCorruptError: if it is anything else.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreCorruptError(f"{path}: is gone. {RESTORE}") from error
    return parse_object(data, where=str(path))


def parse_object(data: bytes, *, where: str) -> dict[str, object]:
    """Return what JSON says whose top level is an object; raises as ``json_object`` does."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreCorruptError(f"{where}: not valid JSON ({error}). {RESTORE}") from error
    if not isinstance(value, dict):
        found = type(value).__name__
        raise StoreCorruptError(f"{where}: holds {found}, expected an object. {RESTORE}")
    return value
