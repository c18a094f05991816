import json
import os

import h5py
import numpy as np
import pytest

from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import (
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
    make_video,
)
from cache_schema.writing import pending

VIDEOS = {"a": 100, "b": 60}
REPAIR = "Put it back with 'vllm-store repair'."


@pytest.fixture(params=[".zarr", ".h5"])
def path(request, tmp_path):
    return tmp_path / f"s{request.param}"


@pytest.fixture
def part(tmp_path):
    """Return the folder of the only part of a sealed Zarr store."""
    make_store(tmp_path / "s.zarr", VIDEOS)
    return next((tmp_path / "s.zarr/tiny/parts").glob("*-*"))


def whats(path):
    return [problem.what for problem in verify_store(path).problems]


def flip_byte(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_good_store_has_no_problems(path):
    make_store(path, VIDEOS, row_shape=(3, 5))
    report = verify_store(path)
    assert (report.problems, report.notes) == ([], [])
    assert (report.num_videos, report.num_rows) == (2, 160)


def test_a_store_that_is_being_written_has_no_problems(path):
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    add_video(stream, "a", make_rows(5))
    stream.append(make_rows(3))
    assert verify_store(path).problems == []
    writer.close()


@pytest.mark.parametrize(
    ("needle", "what"),
    [(make_rows(100)[70:72], "features: crc32c is"), (make_times(100)[70:72], "time: crc32c is")],
)
def test_one_changed_bit_is_found_and_placed(path, needle, what):
    make_store(path, VIDEOS)
    (file,) = [path] if path.is_file() else _holding(path, needle.tobytes())
    flip_byte(file, file.read_bytes().index(needle.tobytes()) + 7)
    (problem,) = [p for p in verify_store(path).problems if "crc32c" in p.what]
    assert problem.what.startswith(what)
    assert (problem.stream, problem.video) == ("tiny", "a")


def _holding(folder, needle):
    return [p for p in folder.rglob("*") if p.is_file() and needle in p.read_bytes()]


def test_rows_that_are_not_numbers_are_found(path):
    writer = create_store(path)
    values = make_rows(5)
    values[1, 2], values[3, 0] = np.nan, np.inf
    stream = writer.stream("tiny", make_recipe(), (4,))
    stream.append(values, are_finite=True)  # a writer takes our word for it
    stream.commit(make_video("a"), make_times(5))
    writer.close()
    assert whats(path) == ["features: 2 of 5 rows hold NaN or infinity"]


@pytest.mark.parametrize(
    ("times", "row"),
    [
        ([[0, 1], [1, 1], [2, 3]], 1),
        ([[0, 1], [2, 3], [1, 4]], 2),
        ([[0, 5], [1, 4], [2, 6]], 1),
        ([[0, 1], [1, 2], [2, np.nan]], 2),
    ],
)
def test_times_out_of_order_are_found(path, monkeypatch, times, row):
    monkeypatch.setattr(pending, "first_bad_time", lambda times_R2: None)  # another writer's
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    stream.append(make_rows(3))
    stream.commit(make_video("a"), np.array(times, float))
    writer.close()
    (what,) = whats(path)
    assert what.startswith(f"time: row {row} is [")


def test_a_video_committed_twice_is_a_note(path):
    make_store(path, VIDEOS)
    writer = create_store(path)
    add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(9))
    writer.close()
    report = verify_store(path)
    assert report.problems == []
    (note,) = report.notes
    assert note.video == "a"
    assert "committed 2 times" in note.what


def test_a_fingerprint_that_is_not_the_recipes_is_found(path):
    make_store(path, VIDEOS)
    if path.is_file():
        with h5py.File(path, "r+") as file:
            file["tiny"].attrs["fingerprint"] = "0"
    else:
        document = json.loads((path / "tiny/zarr.json").read_text())
        document["attributes"]["fingerprint"] = "0"
        (path / "tiny/zarr.json").write_text(json.dumps(document))
    (what,) = whats(path)
    assert f"fingerprint is 0, its recipe makes {make_recipe().fingerprint}; one of the" in what


def test_a_damaged_journal_is_one_problem_and_the_other_parts_are_checked(tmp_path, part):
    make_store(tmp_path / "s.zarr", {"c": 7})
    flip_byte(part / "commits.log", 20)
    report = verify_store(tmp_path / "s.zarr")
    (problem,) = report.problems
    assert "line 1 does not match its checksum" in problem.what
    assert report.num_videos == 1


def test_a_shard_cut_short_is_found(tmp_path, part):
    os.truncate(part / "features/c/0/0", 100 * 8)
    problems = whats(tmp_path / "s.zarr")
    assert "features: sealed file has 800 bytes, expected 1588" in problems
    assert any("cannot be read" in what for what in problems)


def test_a_wrong_shard_index_and_array_metadata_are_found(tmp_path, part):
    flip_byte(part / "features/c/0/0", -10)
    document = json.loads((part / "time/zarr.json").read_text())
    document["shape"] = [159, 2]
    (part / "time/zarr.json").write_text(json.dumps(document))
    assert whats(tmp_path / "s.zarr") == [
        f"features: shard index or padding differs from what its rows need. {REPAIR}",
        f"time: zarr.json differs from the one its rows need. {REPAIR}",
    ]


def test_a_seal_over_another_number_of_rows_is_found(tmp_path, part):
    path = part / "zarr.json"
    path.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"num_rows": 7}}')
    assert whats(tmp_path / "s.zarr") == [
        f"{path}: attributes are {{'num_rows': 7}}, its journal's {{'num_rows': 160}}. {REPAIR}"
    ]


def test_rows_hdf5_lost_are_found(tmp_path):
    path = tmp_path / "s.h5"
    make_store(path, VIDEOS)
    with h5py.File(path, "r+") as file:
        file["tiny/features"].resize(10, axis=0)
    assert "features: has 10 rows, committed are 160" in whats(path)


def test_progress_counts_rows(path):
    make_store(path, VIDEOS)
    seen = []
    verify_store(path, seen.append)
    assert seen == [100, 60]
    assert open_store(path).stream().num_rows == 160
