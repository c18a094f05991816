"""Files of JSON lines beside a store that only grow and that any number of processes append to."""

import os
from collections.abc import Sequence
from pathlib import Path

from cache_schema.writing.write_errors import write_errors

__all__ = ["append_lines", "read_lines"]


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append lines in one write, behind whatever others have appended.

    Args:
        path: The file; made if it is not there.
        lines: Without line breaks.

    Raises:
        StoreError: if the file cannot be written.
    """
    text = "".join(f"{line}\n" for line in lines)
    with write_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            left = memoryview(_line_break(descriptor) + text.encode())
            while left:  # the last room of a disk takes a part, and only then there is an error
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)


def read_lines(path: Path) -> list[bytes]:
    """Return what stands between line breaks; none if there is no file.

    The last may be the beginning of a line, and some may be empty.
    """
    try:
        return path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []


def _line_break(descriptor: int) -> bytes:
    """Return what ends a line that a killed process left unfinished: usually nothing.

    A line that another process is writing right now may look so too; behind it there is then an
    empty line, which readers pass over.
    """
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
