"""Every file of a Zarr store, gone, cut and with a bit flipped: found, and never read as rows."""

import os
import shutil

import pytest
from click.testing import CliRunner

from cache_schema.proof.verify import verify_store
from cache_schema.store import open_store
from extract.tools.cli import store_command
from tests.cache_schema.damage import (
    OPEN,
    SEALED,
    STREAMS,
    flip_bit,
    reports,
    videos_read_wrong,
    write_zarr,
    zarr_files,
)

SHARDS = {"flat": "c/0/0", "grid": "c/0/0/0"}
FILES = [
    "zarr.json",
    *(f"{stream}/zarr.json" for stream in STREAMS),
    *(f"{stream}/parts/zarr.json" for stream in STREAMS),
    *(
        f"{stream}/parts/sealed/{name}"
        for stream in STREAMS
        for name in ("zarr.json", "commits.copy", "features/zarr.json", "time/zarr.json")
    ),
    *(
        f"{stream}/parts/{part}/{name}"
        for stream in STREAMS
        for part in ("sealed", "open")
        for name in ("commits.log", f"features/{SHARDS[stream]}", "time/c/0/0")
    ),
]
FLIPS = [0, 0.23, 0.5, 0.81, 1]
"""Places of the flipped bit, from the first byte to the last."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "s.zarr"
    write_zarr(path)
    return path


@pytest.fixture
def store(good, tmp_path):
    shutil.copytree(good, tmp_path / "s.zarr")
    return tmp_path / "s.zarr"


def test_these_are_all_files_and_nothing_is_wrong_with_them(store):
    assert sorted(zarr_files(store)) == sorted(FILES)
    assert verify_store(store).problems == []
    assert videos_read_wrong(store) == []
    for stream in open_store(store).streams.values():
        assert stream.video_ids == [*SEALED, *OPEN]


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_gone_is_reported(store, file):
    zarr_files(store)[file].unlink()
    assert reports(store)
    assert videos_read_wrong(store) == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_cut_to_half_is_reported(store, file):
    path = zarr_files(store)[file]
    os.truncate(path, path.stat().st_size // 2)
    assert reports(store)
    assert videos_read_wrong(store) == []


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_reported(store, file, flip):
    path = zarr_files(store)[file]
    flip_bit(path, int((path.stat().st_size - 1) * flip), bit=int(flip * 10) % 8)
    assert reports(store)
    wrong = videos_read_wrong(store)
    if "features/c/" in file and wrong:
        # Reading takes no checksum of features, so here alone verify is what finds it.
        ((stream, video),) = wrong
        (problem,) = verify_store(store).problems
        assert (problem.stream, problem.video) == (stream, video)
    else:
        assert wrong == []


@pytest.mark.parametrize("what", ["gone", "cut", "flipped"])
@pytest.mark.parametrize("file", ["zarr.json", "flat/zarr.json", "grid/parts/sealed/commits.log"])
def test_the_command_says_one_sentence_and_ends_with_1(store, file, what):
    path = zarr_files(store)[file]
    if what == "gone":
        path.unlink()
    elif what == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        flip_bit(path, path.stat().st_size // 2)
    result = CliRunner().invoke(store_command, ["verify", str(store)])
    assert result.exit_code == 1
    (line, count) = result.output.splitlines()
    assert line.startswith("PROBLEM: ")
    assert str(path) in line
    assert count.endswith(": 1 problems.")


@pytest.mark.parametrize("stream", STREAMS)
def test_every_bit_of_a_row_shape_counts(store, stream):
    path = zarr_files(store)[f"{stream}/zarr.json"]
    at = path.read_bytes().index(b"row_shape")
    text = path.read_bytes()
    for place in range(at, len(text)):
        for bit in range(8):
            flip_bit(path, place, bit)
            assert videos_read_wrong(store) == []
            path.write_bytes(text)


def test_lines_an_open_part_lost_are_told_from_a_killed_writer(store):
    journal = zarr_files(store)["flat/parts/open/commits.log"]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # what a kill before the last line leaves
    assert verify_store(store).problems == []
    journal.write_bytes(b"".join(lines[:-2]))
    (problem,) = verify_store(store).problems
    assert "the times behind it are of more than one video" in problem.what
