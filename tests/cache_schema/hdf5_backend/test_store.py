import errno
import os
import struct

import h5py
import numpy as np
import pytest

from cache_schema.errors import SchemaVersionError, StoreCorruptError, StoreError
from cache_schema.hdf5_backend import store as hdf5_store
from cache_schema.hdf5_backend.store import Hdf5StoreWriter, chunk_rows
from cache_schema.hdf5_backend.superblock import clear_writer_mark, lookup3
from cache_schema.hdf5_backend.view import ClosedView
from cache_schema.store import beside_store, create_store, open_store
from cache_schema.testing import (
    StoreContract,
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
    make_video,
)
from tests.cache_schema.killing import ROW_SHAPE, check_kills, kill_a_writer


class TestHdf5Store(StoreContract):
    suffix = ".h5"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.h5"


def test_committed_videos_survive_kills_and_the_next_writer_goes_on(path):
    check_kills(path, kills=3)
    writer = create_store(path)
    writer.stream("tiny", make_recipe(), ROW_SHAPE)
    writer.close()
    num_rows = open_store(path).stream().num_rows
    with h5py.File(path) as file:  # and plain HDF5 opens what a clean close left
        assert len(file["tiny/features"]) == num_rows


def test_a_killed_writer_leaves_a_file_any_swmr_reader_opens(path):
    committed = kill_a_writer(path, 0, 0.2)
    with h5py.File(path, "r", swmr=True) as file:
        assert len(file["tiny/features"]) >= len(committed)


def test_plain_h5py_reads_the_rows_and_times_of_a_closed_file(path):
    make_store(path, {"a": 3, "b": 2})
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            file["tiny/features"][:], np.concatenate([make_rows(3), make_rows(2, seed=1)])
        )
        np.testing.assert_array_equal(file["tiny/time"][:3], make_times(3))
        assert file["tiny"].attrs["fingerprint"] == make_recipe().fingerprint


def test_a_file_that_is_open_elsewhere_in_this_process_can_be_read(path):
    make_store(path, {"a": 3})
    with h5py.File(path):
        np.testing.assert_array_equal(open_store(path).stream().read("a").values, make_rows(3))


def test_windows_cross_chunks_that_other_data_lies_between(path):
    writer = create_store(path)
    streams = [writer.stream(name, make_recipe(encoder_id=name), (1024,)) for name in "xy"]
    rows = make_rows(2000, (1024,))
    for first in range(0, 2000, 250):
        for stream in streams:
            add_video(stream, str(first), rows[first : first + 250])
    writer.close()
    stream = open_store(path).stream("y")
    assert len(stream.parts[0].rows._open().features._starts) > 1
    for first in range(0, 2000, 250):
        np.testing.assert_array_equal(stream.read(str(first)).values, rows[first : first + 250])


def test_a_second_writer_is_refused_while_the_first_lives(path):
    writer = create_store(path)
    with pytest.raises(StoreError, match="another process writes it"):
        create_store(path)
    writer.close()
    create_store(path).close()


def test_a_stream_added_to_a_file_with_rows_keeps_them_and_the_lock(path):
    make_store(path, {"a": 300})
    writer = create_store(path)
    first = writer.stream("tiny", make_recipe(), (4,))
    first.append(make_rows(7, seed=3)[:5])
    add_video(writer.stream("more", make_recipe(), (2,)), "b", make_rows(1, (2,)))
    first.append(make_rows(7, seed=3)[5:])
    first.commit(make_video("c"), make_times(7))
    with pytest.raises(StoreError, match="another process"):
        create_store(path)
    writer.close()
    store = open_store(path)
    assert store.stream("tiny").video_ids == ["a", "c"]
    np.testing.assert_array_equal(store.stream("tiny").read("a").values, make_rows(300))
    np.testing.assert_array_equal(store.stream("tiny").read("c").values, make_rows(7, seed=3))
    assert [item.name for item in path.parent.iterdir()] == ["s.h5"]


def test_what_is_left_of_a_torn_commit_line_is_cut_off(path):
    writer = Hdf5StoreWriter(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    add_video(stream, "a", make_rows(3))
    journal = writer._file.group("tiny")["commits.log"]
    journal.resize(len(journal) + 5000, axis=0)
    journal[-5000:-100] = np.frombuffer(b"12345678 {" + b"x" * 4889 + b"\n", np.uint8)
    assert open_store(path).stream().video_ids == ["a"]
    writer._file.close()  # without the stream's own close, as if killed
    writer = create_store(path)
    add_video(writer.stream("tiny", make_recipe(), (4,)), "b", make_rows(2))
    assert open_store(path).stream().video_ids == ["a", "b"]
    writer.close()


def test_a_damaged_commit_line_is_an_error(path):
    make_store(path, {"a": 3, "b": 2})
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"id":"a"', b'"id":"x"'))
    with pytest.raises(StoreCorruptError, match=r"/tiny/commits\.log: line 1 does not match"):
        open_store(path)


@pytest.mark.parametrize(
    ("content", "message"), [("text", "HDF5 cannot open it"), ("hdf5", "is an HDF5 file but not a")]
)
def test_another_file_is_refused_and_left_alone(path, content, message):
    if content == "text":
        path.write_text("not HDF5")
    else:
        h5py.File(path, "w").close()
    before = path.read_bytes()
    for function in (open_store, create_store):
        with pytest.raises(StoreError, match=message):
            function(path)
    assert path.read_bytes() == before


def test_another_schema_version_is_refused(path):
    make_store(path)
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(SchemaVersionError, match="has schema version 99, this code reads 1"):
        open_store(path)


def test_a_replaced_file_is_not_read_with_the_old_row_numbers(path):
    stream = make_store(path).stream()
    path.unlink()
    make_store(path, {"z": 90})
    with pytest.raises(StoreError, match="was replaced since it was opened"):
        stream.read("a")


def test_a_repacked_file_is_refused(path):
    stream = make_store(path).stream()
    with h5py.File(path, "r+") as file:
        values = file["tiny/features"][:]
        del file["tiny/features"]
        file.create_dataset("tiny/features", data=values, compression="gzip")
    with pytest.raises(StoreError, match="the file was repacked"):
        stream.read("a")


@pytest.mark.parametrize("row_bytes", [2, 1536, 4096, 1537, 3_000_000])
def test_feature_chunks_fill_whole_pages(row_bytes):
    assert chunk_rows(row_bytes) * row_bytes % 4096 == 0


def test_the_superblock_checksum_is_lookup3():
    # From the self-test in Bob Jenkins' lookup3.c.
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


def test_a_superblock_that_is_not_ours_is_not_touched(path):
    make_store(path)
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with path.open("r+b") as file, pytest.raises(StoreCorruptError, match="checksum"):
        clear_writer_mark(file.fileno(), 0)
    assert path.read_bytes() == data


def test_no_block_of_the_chunk_index_is_larger_than_a_page(path, monkeypatch):
    monkeypatch.setattr(hdf5_store, "CHUNK_BYTES", 4096)
    make_store(path, {"a": 400}, row_shape=(1024,))  # 200 chunks
    data = path.read_bytes()
    assert b"EADB" not in data  # data blocks of the index that grows past a page
    assert b"BTLF" in data  # leaves of the one whose nodes have 2 KiB
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["tiny/features"][:], make_rows(400, (1024,)))


def test_a_file_whose_last_writer_could_not_close_it_is_mended(path):
    make_store(path, {"a": 50})
    block = bytearray(path.read_bytes()[:44])
    struct.pack_into("<Q", block, 28, path.stat().st_size + 50_000)
    with path.open("r+b") as file:
        file.write(bytes(block) + struct.pack("<I", lookup3(bytes(block))))
    with pytest.raises(OSError, match="truncated file"):
        h5py.File(path)
    writer = create_store(path)
    add_video(writer.stream("tiny", make_recipe(), (4,)), "b", make_rows(2))
    writer.close()
    assert open_store(path).stream().video_ids == ["a", "b"]
    with h5py.File(path) as file:
        assert len(file["tiny/features"]) == 52


def test_copies_a_killed_process_left_are_removed_by_the_next_writer(path):
    names = ["s.0123abcd.partial.h5", "s.0123abcd.partial.4567cdef.partial.h5"]
    others = ["s.partial.h5", "t.0123abcd.partial.h5", "s.0123abcd.partial.zarr"]
    make_store(path)
    for name in names + others:
        path.with_name(name).touch()
    create_store(path).close()
    assert sorted(item.name for item in path.parent.iterdir()) == sorted(["s.h5", *others])


def test_after_a_failed_write_nothing_is_committed_any_more(path, monkeypatch):
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    add_video(stream, "a", make_rows(3))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hdf5_store, "_put_rows", full)
    with pytest.raises(StoreError, match=r"s\.h5: cannot be written \(No space .* make room"):
        add_video(stream, "b", make_rows(2))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="an earlier write failed"):
        add_video(stream, "b", make_rows(2))
    writer.close()
    assert open_store(path).stream().video_ids == ["a"]


def test_damaged_metadata_is_an_error(path):
    make_store(path, {"a": 50})
    path.write_bytes(path.read_bytes().replace(b"GCOL", b"XXXX"))
    with pytest.raises(StoreCorruptError, match="HDF5 cannot read its metadata"):
        open_store(path)


def test_rows_a_file_has_lost_are_an_error(path):
    make_store(path, {"a": 50})
    with h5py.File(path, "r+") as file:
        file["tiny/features"].resize(0, axis=0)
    stream = open_store(path).stream()
    for read in (
        lambda: stream.read("a"),
        lambda: stream.read_windows([("a", 0, 50)], np.empty((1, 64, 4), np.float16)),
    ):
        with pytest.raises(StoreCorruptError, match="row 0 was committed and is missing"):
            read()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_store_behind_a_link_is_made_and_grows_where_the_link_leads(tmp_path, is_there):
    (tmp_path / "disk").mkdir()
    true, link = tmp_path / "disk" / "true.h5", tmp_path / "link.h5"
    link.symlink_to(true)
    if is_there:
        make_store(true, {"a": 3})
    with create_store(link) as writer:
        writer.stream("one", make_recipe(), (4,))
        writer.stream("two", make_recipe(encoder_id="other"), (2,))
        with pytest.raises(StoreError, match="another process writes it"):
            create_store(true)
    assert link.is_symlink()
    assert list(open_store(link).streams) == list(open_store(true).streams)
    assert {"one", "two"} <= set(open_store(true).streams)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["true.h5"]


def test_what_is_noted_beside_a_file_lies_in_one_place_whichever_link_names_it(tmp_path):
    (tmp_path / "link.h5").symlink_to(tmp_path / "disk" / "true.h5")
    beside = beside_store(tmp_path / "link.h5", ".failures.jsonl")
    assert beside == tmp_path / "disk" / "true.h5.failures.jsonl"


def test_a_compacted_file_behind_a_link_stays_behind_it(path, tmp_path):
    make_store(path, {"a": 3})
    (tmp_path / "link.h5").symlink_to(path)
    with hdf5_store.replaced_store(tmp_path / "link.h5") as new:
        new.write_bytes(b"new")
    assert (tmp_path / "link.h5").is_symlink()
    assert path.read_bytes() == b"new"


def test_a_folder_is_no_damaged_file(path):
    path.mkdir()
    with pytest.raises(StoreError, match=r"cannot be read \(Is a directory\)\. An HDF5") as caught:
        open_store(path)
    assert not isinstance(caught.value, StoreCorruptError)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("method", ["__init__", "readinto"])
def test_bytes_that_could_not_be_read_are_no_damage(path, monkeypatch, method, number):
    make_store(path, {"a": 3})

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(ClosedView, method, refuse)
    with pytest.raises(StoreError, match=f"cannot be read .{os.strerror(number)}.") as caught:
        open_store(path)
    assert not isinstance(caught.value, StoreCorruptError)
