"""An HDF5 store, gone, cut and with bits flipped in every structural area."""

import random
import re
import struct

import h5py
import pytest
from click.testing import CliRunner

from cache_schema.errors import StoreCorruptError, StoreError, StoreNotFoundError
from cache_schema.hdf5_backend import store as hdf5_store
from cache_schema.hdf5_backend.superblock import lookup3
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from extract.tools.cli import store_command
from tests.cache_schema.damage import (
    STREAMS,
    flip_bit,
    reports,
    rows_of,
    videos_read_wrong,
    write_session,
)

VIDEOS = "abcd"
PREFIXED = (b"OHDR", b"OCHK", b"BTHD", b"BTLF", b"EAHD", b"EAIB", b"GCOL")
"""Signatures of all kinds of blocks in such a file; all but the last bear a checksum."""
IN_A_BLOCK = (0, 4, 6, 11, 18)
"""Bytes from a block's start on; the smallest block has more than twenty."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "s.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5_store, "CHUNK_BYTES", 4096)
        patch.setattr(hdf5_store, "TIME_CHUNK_ROWS", 64)
        patch.setattr(hdf5_store, "COMMITS_CHUNK_BYTES", 1024)
        write_session(path, VIDEOS)
    return path.read_bytes()


@pytest.fixture
def store(good, tmp_path):
    path = tmp_path / "s.h5"
    path.write_bytes(good)
    return path


def blocks(data, signature):
    return [found.start() for found in re.finditer(signature, data)]


def everything(path):
    """Return all that HDF5 says of a file, by h5py itself; None if it cannot read it."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = {"/": sorted(file.attrs.items())}
            for name in file:  # items() gives None for what cannot be opened
                found[name] = sorted(file[name].attrs.items())
                for key in file[name]:
                    dataset = file[name][key]
                    facts = (dataset.dtype, dataset.shape, dataset.maxshape, dataset.chunks)
                    found[f"{name}/{key}"] = [*facts, dataset[()].tobytes()]
            return found
    except (OSError, RuntimeError, LookupError, ValueError, TypeError):
        return None


def without_store_id(found):
    """Leave out the random name of a file's layout, of which any other is as good."""
    return {**found, "/": [item for item in found["/"] if item[0] != "store_id"]}


def test_nothing_is_wrong_with_the_whole_file(store):
    assert verify_store(store).problems == []
    assert videos_read_wrong(store) == []
    assert [stream.video_ids for stream in open_store(store).streams.values()] == [list(VIDEOS)] * 2
    assert everything(store) is not None


def test_a_file_that_is_gone_is_not_found(store):
    stream = open_store(store).stream("flat")
    store.unlink()
    for look in (open_store, verify_store):
        with pytest.raises(StoreNotFoundError, match=r"s\.h5: no such store"):
            look(store)
    with pytest.raises(StoreNotFoundError, match=r"s\.h5: no such store"):
        stream.read("a")
    result = CliRunner().invoke(store_command, ["verify", str(store)])
    assert isinstance(result.exception, StoreNotFoundError)


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9])
def test_a_cut_file_is_reported(store, good, share):
    store.write_bytes(good[: int(len(good) * share)])
    assert reports(store)
    assert videos_read_wrong(store) == []


@pytest.mark.parametrize("at", range(0, 48, 3))
def test_a_bit_of_the_superblock_is_reported(store, at):
    flip_bit(store, at, bit=at % 8)
    assert reports(store)
    assert videos_read_wrong(store) == []


@pytest.mark.parametrize("signature", PREFIXED[:-1], ids=lambda name: name.decode())
def test_a_bit_of_any_checked_block_is_reported_at_once(store, good, signature):
    """HDF5 would read such a block a hundred times, with doubled pauses: for ever."""
    expected, num_seen = everything(store), 0
    for number, start in enumerate(blocks(good, signature)):
        at = start + IN_A_BLOCK[number % len(IN_A_BLOCK)]
        flip_bit(store, at, bit=number % 8)
        # A node that was moved when it changed leaves a block behind that nothing points to.
        is_seen = everything(store) != expected
        assert reports(store) == is_seen, f"byte {at}"
        assert videos_read_wrong(store) == [], f"byte {at}"
        num_seen += is_seen
        store.write_bytes(good)
    assert num_seen >= len(STREAMS)


@pytest.mark.parametrize("signature", PREFIXED, ids=lambda name: name.decode())
def test_a_damaged_block_is_one_sentence_and_exit_code_1(store, good, signature):
    flip_bit(store, blocks(good, signature)[-1] + 1)
    result = CliRunner().invoke(store_command, ["verify", str(store)])
    if isinstance(result.exception, StoreError):  # for cli_edge, which makes it a sentence
        assert result.exception.exit_code == 1
        assert str(store) in str(result.exception)
    else:
        assert result.exit_code == 1
        assert result.output.startswith("PROBLEM: ")


@pytest.mark.parametrize(
    "needle",
    [b'"weights_sha256":"', b'"store_dtype":"', b'"schema_version":', b"video-feature-store"],
)
def test_a_bit_of_an_attribute_is_reported(store, good, needle):
    """Attributes of text lie in heaps without a checksum."""
    for at in (good.index(needle), good.index(needle) + len(needle) - 1):
        for bit in range(8):
            flip_bit(store, at, bit)
            assert reports(store), (at, bit)
            assert videos_read_wrong(store) == []
            store.write_bytes(good)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_bit_of_a_row_is_found_by_verify_alone(store, good, stream):
    """Reading takes no checksum of features: this is the one damage that only verify sees."""
    at = good.index(rows_of("c", stream).tobytes()[:64]) + 30
    flip_bit(store, at)
    (problem,) = verify_store(store).problems
    assert (problem.stream, problem.video) == (stream, "c")
    assert problem.what.startswith("features: crc32c is")
    assert videos_read_wrong(store) == [(stream, "c")]


def test_a_bit_of_a_time_is_found_by_reading_too(store, good):
    flip_bit(store, good.index(struct.pack("<4d", 5, 5.5, 5.5, 6)) + 6)
    assert reports(store)
    assert videos_read_wrong(store) == []
    (problem,) = verify_store(store).problems
    stream = open_store(store).stream(problem.stream)
    with pytest.raises(StoreCorruptError, match=r"the stored times of '\w' are not those"):
        stream.read(problem.video)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99, 1.0])
def test_a_bit_of_a_journal_is_reported(store, good, place):
    # The journal's chunks lie where HDF5 put them, so its bytes are found through HDF5.
    with h5py.File(store, "r") as file:
        journal = file["flat/commits.log"]
        at = int(place * (len(journal) - 1))
        chunk = journal.id.get_chunk_info_by_coord((at,))
        at = chunk.byte_offset + at - chunk.chunk_offset[0]
    for bit in range(8):
        flip_bit(store, at, bit)
        assert reports(store), bit
        assert videos_read_wrong(store) == []
        store.write_bytes(good)


def test_a_bit_that_is_not_reported_changes_nothing_that_hdf5_says(store, good):
    """Most of a file is room to grow; whatever bit is flipped, if it is seen it is reported."""
    draw, expected, silent = random.Random(0), without_store_id(everything(store)), 0
    heaps = [start + at for start in blocks(good, b"GCOL") for at in range(0, 64, 7)]
    places = [*heaps, *(draw.randrange(len(good)) for _ in range(60))]
    for at in places:
        flip_bit(store, at, bit=draw.randrange(8))
        if not reports(store):
            silent += 1
            assert without_store_id(everything(store)) == expected, f"byte {at}"
            assert videos_read_wrong(store) == []
        store.write_bytes(good)
    assert 0 < silent < len(places)


def test_a_file_with_a_killed_writers_mark_and_a_damaged_block_hangs_nobody(store, good):
    block = bytearray(good[:44])
    block[11] = 5  # open for SWMR writing
    store.write_bytes(bytes(block) + struct.pack("<I", lookup3(bytes(block))) + good[48:])
    assert verify_store(store).problems == []
    flip_bit(store, blocks(good, b"BTLF")[0] + 9)
    assert reports(store)
    assert videos_read_wrong(store) == []
    before = store.read_bytes()
    with pytest.raises(StoreCorruptError, match="HDF5 cannot read its metadata"):
        create_store(store)
    assert store.read_bytes() == before
