import os
import struct

import h5py
import numpy as np
import pytest

from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.hdf5_backend import rows
from cache_schema.hdf5_backend.rows import look
from cache_schema.hdf5_backend.superblock import as_closed, is_marked, lookup3
from cache_schema.hdf5_backend.view import ClosedView
from cache_schema.testing import make_rows, make_store


@pytest.fixture
def marked(tmp_path):
    """A file as its killed writer leaves it, longer than its superblock says."""
    path = tmp_path / "s.h5"
    make_store(path, {"a": 50})
    block = bytearray(path.read_bytes()[:44])
    block[11] = 5
    with path.open("r+b") as file:
        file.write(bytes(block) + struct.pack("<I", lookup3(bytes(block))))
        file.seek(0, os.SEEK_END)
        file.write(bytes(4096))
    return path


def test_a_marked_file_is_seen_as_a_closed_one_and_not_changed(marked):
    before = marked.read_bytes()
    with pytest.raises(OSError, match="already open for"):
        h5py.File(marked, "r")
    assert is_marked(before)
    with h5py.File(ClosedView(marked), "r") as file:
        assert file.filename == str(marked)
        np.testing.assert_array_equal(file["tiny/features"][:], make_rows(50))
    assert marked.read_bytes() == before


def test_only_mark_end_and_checksum_of_a_superblock_change(marked):
    before, size = marked.read_bytes()[:48], marked.stat().st_size
    after = as_closed(before, size)
    changed = {at for at in range(48) if before[at] != after[at]}
    assert changed <= {11, *range(28, 36), *range(44, 48)}
    assert struct.unpack_from("<Q", after, 28) == (size,)
    assert not is_marked(after)


@pytest.mark.parametrize("block", [b"", b"not HDF5" * 6, b"\x89HDF\r\n\x1a\n\3" + bytes(39)])
def test_a_superblock_that_is_not_whole_is_left_for_hdf5_to_refuse(block):
    assert as_closed(block, 100) == block


def test_what_a_living_writer_is_in_the_middle_of_is_looked_at_again(marked, monkeypatch):
    monkeypatch.setattr(rows, "PAUSES_SECONDS", (0, 0, 0))
    looks = []

    def torn(file):
        looks.append(file)
        if len(looks) < 4:
            raise OSError("incorrect metadata checksum")
        return "whole"

    assert look(marked, torn) == "whole"


@pytest.mark.parametrize(("is_marked_file", "num_looks"), [(True, 4), (False, 1)])
def test_damage_is_an_error_at_once_or_after_three_more_looks(
    marked, monkeypatch, is_marked_file, num_looks
):
    monkeypatch.setattr(rows, "PAUSES_SECONDS", (0, 0, 0))
    if not is_marked_file:
        marked.write_bytes(as_closed(marked.read_bytes()[:48], 1) + marked.read_bytes()[48:])
    looks = []

    def torn(file):
        looks.append(file)
        raise KeyError("incorrect metadata checksum")

    with pytest.raises(StoreCorruptError, match=r"s\.h5: HDF5 cannot read its metadata"):
        look(marked, torn)
    assert len(looks) == num_looks


def test_a_file_nobody_may_read_is_a_sentence(tmp_path):
    (tmp_path / "s.h5").mkdir()
    with pytest.raises(StoreError, match=r"s\.h5"):
        look(tmp_path / "s.h5", list)
