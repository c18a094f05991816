"""Find the true header of a stream among those that are left."""

from dataclasses import replace
from pathlib import Path

import google_crc32c

from cache_schema import layout
from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.journal import Journal, decode_journal, open_journal
from cache_schema.proof.blocks import little_endian, part_blocks
from cache_schema.proof.sealed_part import sealed_headers, sealed_source
from cache_schema.stream import Stream
from cache_schema.zarr_backend.headers import StreamHeader, read_attributes
from cache_schema.zarr_backend.reader import part_folders
from cache_schema.zarr_backend.rows import ZarrPartRows
from cache_schema.zarr_backend.seal import read_copy

__all__ = ["find_header"]


def find_header(folder: Path) -> StreamHeader | None:
    """Return the only header that is left and fits the rows; None if there is none, or two.

    A recipe is proven by its fingerprint; a row shape by the checksums of the rows, unless both
    places of the header say the same. Where the encoder came from is what the sealed parts say.
    """
    own, copy = _read(folder), _read(folder / layout.PARTS)
    if (header := _proven(folder, own, copy)) is None:
        return None
    kept = own.encoder_source if own == header else ""
    return replace(header, encoder_source=sealed_source(folder, header) or kept)


def _proven(
    folder: Path, own: StreamHeader | None, copy: StreamHeader | None
) -> StreamHeader | None:
    if own is not None and own == copy:
        return own
    candidates: list[StreamHeader] = []
    for header in (own, copy, *sealed_headers(folder)):
        if header is not None and header not in candidates:
            candidates.append(header)
    fitting = [header for header in candidates if _fits(folder, header)]
    return fitting[0] if len(fitting) == 1 else None


def _read(folder: Path) -> StreamHeader | None:
    try:
        where = str(folder / layout.ZARR_JSON)
        return StreamHeader.from_attributes(read_attributes(folder), where)
    except StoreCorruptError:
        return None


def _fits(folder: Path, header: StreamHeader) -> bool:
    """Tell whether a video has the committed checksum if its rows are read by this header."""
    stream = Stream(folder.name, header.recipe, header.row_shape, [])
    tried = False
    for part in part_folders(folder):
        rows = ZarrPartRows(part, header.row_shape, header.recipe.store_dtype)
        for commit in _commits(part):
            tried, checksum = True, 0
            try:
                for block in part_blocks(stream, rows, commit):
                    checksum = google_crc32c.extend(checksum, little_endian(block))
            except StoreError:
                continue
            if checksum == commit.features_crc32c:
                return True
    return not tried


def _commits(part: Path) -> Journal:
    try:
        if commits := open_journal(part / layout.COMMITS):
            return commits
    except StoreCorruptError:
        pass
    try:
        return decode_journal(read_copy(part)[1], where=str(part))[0]
    except StoreCorruptError:
        return decode_journal(b"", where=str(part))[0]
