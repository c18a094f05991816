"""What a sealed part was sealed with, told from whatever is left of it, or not at all."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.journal import decode_journal
from cache_schema.zarr_backend.headers import StreamHeader, part_attributes, read_attributes
from cache_schema.zarr_backend.reader import part_folders
from cache_schema.zarr_backend.rows import shard_path
from cache_schema.zarr_backend.seal import read_copy
from cache_schema.zarr_backend.shard import num_chunks, shard_end

__all__ = ["sealed_headers", "sealed_journal", "sealed_source"]


def sealed_journal(part: Path) -> tuple[int, bytes] | None:
    """Return the rows and the journal a part was sealed with; None if that cannot be proven.

    Of the journal and its copy the longer one, if it begins with the other, is all of it when the
    part's ``zarr.json`` has its checksum, or when nothing but zeros follows its last time in the
    chunk: a video whose line was lost left times there, and no time is all zeros.
    """
    texts = list(_whole_texts(part))
    longest = max(texts, key=len, default=b"")
    if not longest or not all(longest.startswith(text) for text in texts):
        return None
    num_rows = decode_journal(longest, where=str(part))[0].end_row
    try:
        is_proven = read_attributes(part) == part_attributes(num_rows, longest)
    except StoreCorruptError:
        is_proven = False
    return (num_rows, longest) if is_proven or _fills(part, num_rows) else None


def sealed_headers(stream: Path) -> Iterator[StreamHeader]:
    """Yield the header that each sealed part of a stream was sealed with, as far as it is left."""
    for part in part_folders(stream):
        with suppress(StoreCorruptError):
            yield read_copy(part)[0]


def sealed_source(stream: Path, header: StreamHeader) -> str:
    """Return where the encoder came from as the sealed parts know it; empty if they do not agree.

    A writer that knows nothing of it seals parts without.
    """
    copies = [copy for copy in sealed_headers(stream) if copy == header]
    sources = {copy.encoder_source for copy in copies} - {""}
    return sources.pop() if len(sources) == 1 else ""


def _whole_texts(part: Path) -> Iterator[bytes]:
    """Yield the journal and its copy, as far as all their lines match their checksums."""
    with suppress(FileNotFoundError, StoreCorruptError):
        journal = (part / layout.COMMITS).read_bytes()
        if not decode_journal(journal, where=str(part))[1]:
            yield journal
    with suppress(StoreCorruptError):
        yield read_copy(part)[1]


def _fills(part: Path, num_rows: int) -> bool:
    """Tell whether the time shard was sealed behind this very row."""
    path = shard_path(part, layout.TIME, ndim=2)
    try:
        data = path.read_bytes()[num_rows * 16 :]
    except FileNotFoundError:
        return False
    padding = (num_chunks(num_rows) * layout.CHUNK_ROWS - num_rows) * 16
    return len(data) == len(shard_end(num_rows, 16)) and not any(data[:padding])
