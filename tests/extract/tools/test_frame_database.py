import sys

import lmdb
import numpy as np
import pytest

from cache_schema.errors import SourceError
from extract.tools.feature_files import find_feature_files, read_features
from extract.tools.frame_database import database_videos, read_frames


def key(video, number):
    return f"{video}_frame_{number:010d}.jpg"


def vector(video, number, dim=4):
    return np.full(dim, 1000 * len(video) + number, np.float32)


def fill(folder, entries):
    """Write key -> bytes as RULSTM does: a folder with data.mdb and lock.mdb."""
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=2**20) as database, database.begin(write=True) as writer:
        for name, value in entries.items():
            writer.put(name.encode(), bytes(value))
    return folder / "data.mdb"


def frames(**numbers):
    return {key(v, n): vector(v, n).tobytes() for v, all_ in numbers.items() for n in all_}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "rgb"


def test_videos_are_those_of_the_keys_in_their_order(folder):
    # A name that begins another one's: sorted bytes put its frames behind the longer name's.
    path = fill(folder, frames(P01_01=range(1, 4), P01_010=range(1, 3), P02_1=[1]))
    assert database_videos(path) == ["P01_010", "P01_01", "P02_1"]


def test_rows_are_the_frames_from_number_one_on(folder):
    path = fill(folder, frames(P01_01=range(1, 12), P01_010=range(1, 3), P01_02=[1]))
    expected = [vector("P01_01", number) for number in range(1, 12)]
    np.testing.assert_array_equal(read_frames(path, "P01_01"), expected)
    assert len(read_frames(path, "P01_010")) == 2
    assert read_frames(path, "P01_02").dtype == np.float32


def test_a_name_may_hold_the_word_that_divides_it(folder):
    path = fill(folder, frames(a_frame_b=[1, 2]))
    assert database_videos(path) == ["a_frame_b"]
    assert len(read_frames(path, "a_frame_b")) == 2


def test_ids_follow_the_database_s_folder_below_the_source(folder, tmp_path):
    fill(folder, frames(P01_01=[1], P01_02=[1]))
    fill(tmp_path / "flow", frames(P01_01=[1]))
    found = find_feature_files(tmp_path, None)
    assert [file.video_id for file in found] == ["flow/P01_01", "rgb/P01_01", "rgb/P01_02"]
    assert [file.video_id for file in find_feature_files(folder, None)] == ["P01_01", "P01_02"]
    (first, _) = find_feature_files(folder / "data.mdb", None)
    assert (first.video_id, str(first)) == ("P01_01", f"{folder / 'data.mdb'} (P01_01)")
    np.testing.assert_array_equal(read_features(first), [vector("P01_01", 1)])


def test_a_database_is_read_where_nothing_may_be_written(folder):
    path = fill(folder, frames(v=[1, 2]))
    (folder / "lock.mdb").unlink()
    assert len(read_frames(path, "v")) == 2
    assert not (folder / "lock.mdb").exists()


@pytest.mark.parametrize("numbers", [[1, 2, 4], [2, 3], [0, 1]])
def test_frames_that_are_missing_are_an_error(folder, numbers):
    path = fill(folder, frames(v=numbers))
    missing = {4: 3, 3: 1, 1: 2}[max(numbers)]
    with pytest.raises(
        SourceError, match=rf"numbers {min(numbers)} to {max(numbers)}, but not number {missing};"
    ):
        read_frames(path, "v")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"v_frame_1.jpg": b"12345"}, "multiple of element size"),
        ({"v_frame_1.jpg": bytes(8), "v_frame_2.jpg": bytes(12)}, "same shape"),
        ({"\xe9_frame_1.jpg": bytes(8)}, "'\xe9_frame_1.jpg', expected keys such as"),
        ({"v_frame_1.jpg": bytes(8), "v_meta": b"{}"}, "'v_meta', expected keys such as 'P01_01"),
    ],
)
def test_values_and_keys_that_are_none_of_frames_are_named(folder, entries, message):
    fill(folder, entries)
    with pytest.raises(SourceError, match=message):
        [read_features(file) for file in find_feature_files(folder, None)]


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(SourceError, match=r"data\.mdb: LMDB cannot read it: "):
        find_feature_files(tmp_path, None)


def test_without_the_package_the_error_says_how_to_get_it(folder, monkeypatch):
    path = fill(folder, frames(v=[1]))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(SourceError, match=r"pip install 'video-feature-llm\[lmdb\]'"):
        database_videos(path)
