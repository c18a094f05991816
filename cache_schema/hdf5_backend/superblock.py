"""Give a file whose writer was killed back to the next writer.

HDF5 marks a file that is open for writing and refuses every later writer until the mark is gone.
This does what `h5clear -s` does: it clears the mark and corrects the recorded end of the file.

Source: HDF5 File Format Specification 3.0, II.A superblock version 3; Bob Jenkins' lookup3.
"""

import os
import struct

from cache_schema.errors import StoreCorruptError

__all__ = [
    "SUPERBLOCK_BYTES",
    "as_closed",
    "clear_writer_mark",
    "is_marked",
    "lookup3",
    "was_closed",
]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_BYTES = 48
_FLAGS_AT = 11
_END_AT = 28
_CHECKSUM_AT = 44
_MASK = 0xFFFFFFFF


def was_closed(superblock: bytes, file_bytes: int) -> bool:
    """Tell whether the last writer closed a file: it bears no mark and ends where it says.

    HDF5 takes the mark away even if a full disk kept it from writing everything.
    """
    (recorded,) = struct.unpack_from("<Q", superblock, _END_AT)
    return superblock[_FLAGS_AT] == 0 and bool(recorded == file_bytes)


def is_marked(superblock: bytes) -> bool:
    """Tell whether a writer has a file open, or was killed while it had."""
    return superblock[:9] == SIGNATURE + b"\3" and superblock[_FLAGS_AT] != 0


def as_closed(superblock: bytes, file_bytes: int) -> bytes:
    """Return a superblock without a mark, whose file ends where it does.

    One that is not ours, or does not match its checksum, is returned as it is: HDF5 says so best.
    """
    if superblock[:9] != SIGNATURE + b"\3" or len(superblock) < SUPERBLOCK_BYTES:
        return superblock
    (checksum,) = struct.unpack_from("<I", superblock, _CHECKSUM_AT)
    if checksum != lookup3(superblock[:_CHECKSUM_AT]):
        return superblock
    return _closed(superblock, file_bytes)


def _closed(superblock: bytes, end_bytes: int) -> bytes:
    block = bytearray(superblock)
    block[_FLAGS_AT] = 0
    struct.pack_into("<Q", block, _END_AT, end_bytes)
    struct.pack_into("<I", block, _CHECKSUM_AT, lookup3(bytes(block[:_CHECKSUM_AT])))
    return bytes(block)


def clear_writer_mark(descriptor: int, end_bytes: int) -> None:
    """Clear the mark of a file nobody writes, and make ``end_bytes`` its end.

    Args:
        descriptor: Of the file, open for reading and writing.
        end_bytes: Everything the file's own index points to lies before it, so that the next
            writer allocates behind it.

    Raises:
        StoreCorruptError: if the superblock is not the one our writer makes.
    """
    block = os.pread(descriptor, SUPERBLOCK_BYTES, 0)
    (checksum,) = struct.unpack_from("<I", block, _CHECKSUM_AT)
    if block[:12] != SIGNATURE + bytes([3, 8, 8, block[_FLAGS_AT]]):
        raise StoreCorruptError("HDF5 superblock: expected version 3 with 8-byte offsets.")
    if checksum != lookup3(block[:_CHECKSUM_AT]):
        raise StoreCorruptError("HDF5 superblock: does not match its checksum.")
    (recorded,) = struct.unpack_from("<Q", block, _END_AT)
    end = max(recorded, end_bytes)
    os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    os.pwrite(descriptor, _closed(block, end), 0)
    os.fsync(descriptor)


def lookup3(data: bytes) -> int:
    """Return Jenkins' ``hashlittle(data, 0)``, the checksum of HDF5 metadata.

    Examples:
        >>> hex(lookup3(b"Four score and seven years ago"))
        '0x17770551'
    """
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    num_blocks = -(-len(data) // 12)
    words = struct.unpack(f"<{num_blocks * 3}I", data.ljust(num_blocks * 12, b"\0"))
    for at in range(0, len(words), 3):
        a, b, c = ((x + word) & _MASK for x, word in zip((a, b, c), words[at:], strict=False))
        a, b, c = _mix(a, b, c) if at + 3 < len(words) else _final(a, b, c)
    return c


def _rotate(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotate(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a  # the three registers take turns
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, bits)) & _MASK
        a, b, c = b, c, a
    return c, a, b
