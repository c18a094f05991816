"""JSON lines beside a store, which only become more, and which any number of processes add to.

Beside a folder or a file they are a file. An object cannot grow: beside a store in a bucket each
addition is an object of its own, and its name says when it was made.
"""

import os
import secrets
import time
from collections.abc import Sequence

from cache_schema.place import Address, Place
from cache_schema.writing.write_errors import write_errors

__all__ = ["append_lines", "read_lines"]


def append_lines(path: Place, lines: Sequence[str]) -> None:
    """Append lines in one write, behind whatever others have appended.

    Args:
        path: The file, made if it is not there; or what the objects' names begin with.
        lines: Without line breaks.

    Raises:
        StoreError: if they cannot be written.
    """
    text = "".join(f"{line}\n" for line in lines)
    if isinstance(path, Address):
        from cache_schema.object_backend.bucket import Bucket

        name = f"{time.time_ns() // 1000:016d}-{secrets.token_hex(4)}.jsonl"
        Bucket(path).put(name, text.encode())
        return
    with write_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            left = memoryview(_line_break(descriptor) + text.encode())
            while left:  # the last room of a disk takes a part, and only then there is an error
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)


def read_lines(path: Place) -> list[bytes]:
    """Return what stands between line breaks, oldest first; none if there is no file or object.

    The last may be the beginning of a line, and some may be empty.

    Raises:
        StoreError: if a bucket does not let us list them.
    """
    if isinstance(path, Address):
        if path.scheme in ("http", "https"):
            return []  # a web server lists nothing
        from cache_schema.object_backend.bucket import Bucket

        bucket = Bucket(path)
        return b"".join(filter(None, bucket.get_many(sorted(bucket.objects())))).split(b"\n")
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
