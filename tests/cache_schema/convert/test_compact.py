import shutil

import numpy as np
import pytest

from cache_schema import layout
from cache_schema.convert import compact
from cache_schema.convert.compact import compact_store
from cache_schema.errors import StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.repair.store import repair_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import (
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
    make_video,
)
from tests.cache_schema.killing import kill_a_writer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.zarr"


def write_parts(path, *parts):
    for seed, videos in enumerate(parts):
        writer = create_store(path)
        stream = writer.stream("tiny", make_recipe(), (4,))
        for video_id in videos:
            add_video(stream, video_id, make_rows(10, seed=seed))
        writer.close()


def parts_of(path):
    stream = open_store(path).stream("tiny")
    return [[commit.video.id for commit in part.commits] for part in stream.parts]


def test_small_parts_become_one_and_readers_see_the_same(path):
    write_parts(path, "ab", "c", "dbe")
    before = store_digest(open_store(path))
    (done,) = compact_store(path)
    assert (done.parts_before, done.parts_after, done.videos_moved) == (3, 1, 5)
    assert parts_of(path) == [["a", "b", "c", "d", "e"]]
    assert store_digest(open_store(path)) == before
    assert verify_store(path).problems == []
    np.testing.assert_array_equal(open_store(path).stream().read("b").values, make_rows(10))


def test_a_second_compaction_has_nothing_to_do(path):
    write_parts(path, "a", "b")
    compact_store(path)
    (part,) = open_store(path).stream().parts
    (done,) = compact_store(path)
    assert done.videos_moved == 0
    assert open_store(path).stream().parts[0].id == part.id


def test_big_parts_stay_where_they_are_unless_they_hold_dead_rows(path, monkeypatch):
    monkeypatch.setattr(layout, "PART_BYTES", 15 * 8)
    write_parts(path, "a", "b", "ca")
    big = [part.id for part in open_store(path).stream().parts][:2]
    (done,) = compact_store(path)
    assert [part.id for part in open_store(path).stream().parts][:2] == big
    assert parts_of(path) == [["a"], ["b"], ["c"]]
    assert done.videos_moved == 1


def test_more_parts_than_locks_are_merged_in_several_passes(path, monkeypatch):
    monkeypatch.setattr(compact, "MOST_LOCKS", 3)
    write_parts(path, *"abcdefg")
    compact_store(path)
    (videos,) = parts_of(path)
    assert sorted(videos) == ["a", "b", "c", "d", "e", "f", "g"]


def test_a_part_that_is_being_written_is_left_alone_with_what_it_shares(path):
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    write_parts(path, "ax", "b", "c")
    add_video(stream, "x", make_rows(10, seed=9))
    expected = store_digest(open_store(path))
    (done,) = compact_store(path, quiet_seconds=0)
    reasons = sorted(done.left_alone.values())
    assert reasons == ["a process writes it", "shares a video with a part that is left alone"]
    assert store_digest(open_store(path)) == expected
    add_video(stream, "y", make_rows(10))
    writer.close()
    assert sorted(open_store(path).stream().video_ids) == ["a", "b", "c", "x", "y"]


def test_a_killed_writers_part_is_merged_once_it_was_quiet_for_long_enough(path):
    committed = kill_a_writer(path, 0, 0.2)
    (done,) = compact_store(path)
    (reason,) = done.left_alone.values()
    assert reason.startswith("not sealed and written to ")
    assert done.videos_moved == 0
    expected = store_digest(open_store(path))
    (done,) = compact_store(path, quiet_seconds=0)
    assert done.left_alone == {}
    assert done.videos_moved >= len(committed)
    assert store_digest(open_store(path)) == expected
    (part,) = (path / "tiny/parts").glob("*-*")
    assert (part / "zarr.json").exists()


def test_what_a_killed_writer_left_without_a_video_is_removed(path):
    write_parts(path, "a")
    (path / "tiny/parts/0000000000000-00000000/features").mkdir(parents=True)
    compact_store(path)
    assert len(list((path / "tiny/parts").glob("*-*"))) == 2
    compact_store(path, quiet_seconds=0)
    assert parts_of(path) == [["a"]]
    assert len(list((path / "tiny/parts").glob("*-*"))) == 1


@pytest.mark.parametrize("instant", range(8))
def test_a_compaction_that_dies_at_any_step_changes_nothing(path, monkeypatch, instant):
    write_parts(path, "ab", "c", "da")
    before = store_digest(open_store(path))
    steps = iter(range(99))

    def dying(function):
        def step(*args, **keywords):
            if next(steps) == instant:
                raise KeyboardInterrupt
            return function(*args, **keywords)

        return step

    monkeypatch.setattr(compact, "copy_video", dying(compact.copy_video))
    monkeypatch.setattr(compact, "_remove", dying(compact._remove))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    with pytest.raises(KeyboardInterrupt):
        compact_store(path)
    assert store_digest(open_store(path)) == before
    monkeypatch.undo()
    compact_store(path, quiet_seconds=0)
    assert store_digest(open_store(path)) == before
    assert len(parts_of(path)) == 1


def test_an_hdf5_file_is_written_anew_only_if_it_holds_dead_rows(tmp_path):
    path = tmp_path / "s.h5"
    make_store(path, {"a": 5000, "b": 3})
    inode = path.stat().st_ino
    compact_store(path)
    assert path.stat().st_ino == inode
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    stream.append(make_rows(300_000))
    stream.commit(make_video("a"), make_times(300_000))
    with pytest.raises(StoreError, match="another process writes it"):
        compact_store(path)
    writer.close()
    size, before = path.stat().st_size, store_digest(open_store(path))
    (done,) = compact_store(path)
    assert done.videos_moved == 2
    assert store_digest(open_store(path)) == before
    assert path.stat().st_size < size / 2
    assert [item.name for item in tmp_path.iterdir()] == ["s.h5"]


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_the_source_of_the_encoder_stays(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    for seed in range(2):
        with create_store(path) as writer:
            stream = writer.stream("tiny", make_recipe(), (4,), encoder_source="/models/clip")
            add_video(stream, "a", make_rows(10, seed=seed))
    (done,) = compact_store(path)
    assert done.videos_moved == 1
    assert open_store(path).stream().encoder_source == "/models/clip"
    assert verify_store(path).problems == []
    for header in path.glob("tiny/zarr.json"):
        assert [b"/models/clip" in copy.read_bytes() for copy in path.rglob("*.copy")] == [True]
        header.unlink()
        assert repair_store(path).report.problems == []
        assert open_store(path).stream().encoder_source == "/models/clip"
