import struct

import google_crc32c
import numpy as np
import pytest

from cache_schema.zarr_backend.shard import ShardFile, index_bytes, num_chunks, shard_metadata


@pytest.mark.parametrize(("rows", "chunks"), [(0, 0), (1, 1), (64, 1), (65, 2), (640, 10)])
def test_chunks_hold_64_rows(rows, chunks):
    assert num_chunks(rows) == chunks


def test_a_sealed_file_is_rows_padding_index_and_checksum(tmp_path):
    file = ShardFile(tmp_path / "c" / "0", row_bytes=4)
    rows = np.arange(70, dtype="<u4")
    file.append(rows[:50, None])
    file.append(rows[50:, None])
    file.seal()
    table = struct.pack("<4Q", 0, 256, 256, 256)
    checksum = struct.pack("<I", google_crc32c.value(table))
    expected = rows.tobytes() + bytes(58 * 4) + table + checksum
    assert (tmp_path / "c" / "0").read_bytes() == expected
    assert index_bytes(70, 4) == table + checksum


def test_rewinding_drops_the_last_rows(tmp_path):
    file = ShardFile(tmp_path / "c" / "0", row_bytes=1)
    for row in (b"a", b"b", b"c"):
        file.append(np.frombuffer(row, np.uint8))
    file.rewind(1)
    file.append(np.frombuffer(b"z", np.uint8))
    file.sync()
    assert file.num_rows == 2
    assert (tmp_path / "c" / "0").read_bytes() == b"az"
    file.close()
    file.close()  # a second close does nothing


def test_a_file_is_never_written_twice(tmp_path):
    ShardFile(tmp_path / "c" / "0", row_bytes=1).close()
    with pytest.raises(FileExistsError):
        ShardFile(tmp_path / "c" / "0", row_bytes=1)


def test_the_metadata_is_one_shard_with_64_row_chunks():
    metadata = shard_metadata(70, (3, 5), "float16")
    (codec,) = metadata["codecs"]
    assert metadata["shape"] == [70, 3, 5]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [128, 3, 5]
    assert codec["configuration"]["chunk_shape"] == [64, 3, 5]
    assert codec["configuration"]["index_location"] == "end"
