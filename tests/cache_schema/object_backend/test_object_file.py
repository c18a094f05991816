import io
from concurrent.futures import Future

import pytest

from cache_schema.errors import StoreError
from cache_schema.object_backend import object_file
from cache_schema.object_backend.bucket import Bucket, NoRangesError
from cache_schema.object_backend.object_file import ObjectFile

DATA = bytes(range(256)) * 5


@pytest.fixture
def place(address, monkeypatch):
    monkeypatch.setattr(object_file, "BLOCK_BYTES", 100)
    monkeypatch.setattr(object_file, "MOST_BLOCKS", 6)
    Bucket(address).put("x.bin", DATA)
    return address / "x.bin"


def test_it_is_read_and_sought_in_as_a_file_is(place):
    with ObjectFile(place) as there, io.BytesIO(DATA) as here:
        for file in (there, here):
            assert (file.readable(), file.seekable(), file.tell()) == (True, True, 0)
        for offset, whence, size in [
            (0, 0, 10),
            (150, 0, 333),
            (-7, 1, 20),
            (-30, 2, 99),
            (5, 0, -1),
        ]:
            assert there.seek(offset, whence) == here.seek(offset, whence)
            assert there.read(size) == here.read(size)
            assert there.tell() == here.tell()
        assert there.read(5) == b""


def test_few_blocks_are_kept(place):
    with ObjectFile(place) as file:
        assert file.read() == DATA
        assert len(file._blocks) == 6


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(place, address):
    with ObjectFile(place) as file:
        file.read(10)
        Bucket(address).put("x.bin", DATA[::-1])
        file.seek(1000)
        with pytest.raises(StoreError, match="was replaced while it was read"):
            file.read(10)


@pytest.mark.parametrize("sends_ranges", [True, False])
def test_an_object_whose_size_changes_while_it_is_read_says_what_to_do(
    place, monkeypatch, sends_ranges
):
    def fetch(*_):
        if not sends_ranges:
            raise NoRangesError
        return [done(b"short")]

    monkeypatch.setattr(Bucket, "fetch", fetch)
    monkeypatch.setattr(Bucket, "copy_to", lambda *_: None)
    with (
        ObjectFile(place) as file,
        pytest.raises(
            StoreError, match=r"x\.bin: changed size while it was read\. Run the command"
        ),
    ):
        file.read(10)


def done(block):
    future = Future[bytes]()
    future.set_result(block)
    return future


def test_another_version_than_the_one_that_is_meant_is_an_error(place):
    with pytest.raises(StoreError, match="was replaced since it was found"):
        ObjectFile(place.at('"another"'))


def test_what_is_not_there_is_an_error(address):
    with pytest.raises(StoreError, match=r"is not there \(any more\)"):
        ObjectFile(address / "none")


def test_spans_are_read_as_of_a_file_and_missed_bytes_are_an_error(place):
    spans = [(0, 10), (700, 900), (50, 60)]
    with ObjectFile(place) as file:
        assert list(file.read_spans(spans)) == [DATA[start:end] for start, end in spans]
        assert list(file.read_spans([])) == []
        with pytest.raises(StoreError, match="changed size while it was read"):
            list(file.read_spans([(0, 1), (1000, 2000)]))
