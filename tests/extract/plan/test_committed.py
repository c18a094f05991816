import time

import pytest

from cache_schema import journal, layout
from cache_schema.object_backend.bucket import Bucket
from cache_schema.store import create_store
from cache_schema.testing import add_video, make_recipe, make_rows
from cache_schema.zarr_backend.reader import part_folders
from extract.plan import committed as committed_module
from extract.plan.committed import committed_videos


@pytest.fixture
def part(tmp_path):
    """Return the part of a living writer that has committed two videos."""
    with create_store(tmp_path / "f.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        add_video(stream, "a", make_rows(1))
        add_video(stream, "b", make_rows(1))
        (part,) = (tmp_path / "f.zarr/tiny/parts").glob("*-*")
        yield part


def is_missing(committed, *video_ids):
    return [bool(committed.missing(video_id, ["tiny"])) for video_id in video_ids]


def test_a_line_that_is_being_written_counts_when_it_is_whole(part):
    path = part / layout.COMMITS
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:50])
    committed = committed_videos(part.parents[2], ["tiny"])
    assert committed.refresh() == 1
    assert is_missing(committed, "a", "b") == [False, True]
    path.write_bytes(first + second)
    committed.refresh()
    assert is_missing(committed, "a", "b") == [False, False]


def test_only_what_a_journal_has_grown_by_is_read(part, monkeypatch):
    path = part / layout.COMMITS
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first)
    committed = committed_videos(part.parents[2], ["tiny"])
    committed.refresh()
    path.write_bytes(first + second)
    decoded = []
    monkeypatch.setattr(
        "extract.plan.committed.decode_journal",
        lambda data, **about: decoded.append(data) or journal.decode_journal(data, **about),
    )
    committed.refresh()
    committed.refresh()
    assert decoded == [second]


def test_a_damaged_journal_is_looked_over_and_what_was_seen_of_it_stays(part):
    path = part / layout.COMMITS
    lines = path.read_bytes()
    committed = committed_videos(part.parents[2], ["tiny"])
    committed.refresh()
    path.write_bytes(lines + b"no line\n" + lines)
    committed.refresh()
    assert is_missing(committed, "a", "b", "c") == [False, False, True]


def test_a_part_of_which_only_an_empty_journal_is_left_has_no_writer(part):
    left = part.with_name(f"{part.name}-left")
    left.mkdir()
    (left / layout.COMMITS).touch()
    assert left in part_folders(part.parents[1])
    committed = committed_videos(part.parents[2], ["tiny"])
    assert committed.refresh() == 1
    assert is_missing(committed, "a", "b", "c") == [False, False, True]


def write_in_bucket(address, *video_ids):
    with create_store(address) as writer:
        for video_id in video_ids:
            add_video(writer.stream("tiny", make_recipe(), (4,)), video_id, make_rows(1))


def test_in_a_bucket_what_was_committed_since_is_found_and_writers_are_counted(
    address, monkeypatch
):
    monkeypatch.setattr(committed_module, "LISTING_SECONDS", -1.0)
    write_in_bucket(address, "a", "b")
    committed = committed_videos(address, ["tiny"])
    assert is_missing(committed, "a", "b") == [True, True]
    assert committed.refresh() == 1
    write_in_bucket(address, "c")
    asked = []
    get = Bucket.get
    monkeypatch.setattr(Bucket, "get", lambda self, key: asked.append(key) or get(self, key))
    assert committed.refresh() == 2
    assert is_missing(committed, "a", "b", "c", "d") == [False, False, False, True]
    assert len(asked) == 1  # only of the part that is new


def test_in_a_bucket_a_part_that_was_named_before_others_and_came_late_is_found(
    address, monkeypatch
):
    monkeypatch.setattr(committed_module, "LISTING_SECONDS", -1.0)
    write_in_bucket(address, "a")
    committed = committed_videos(address, ["tiny"])
    committed.refresh()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 300 * 10**9)
    write_in_bucket(address, "late")
    committed.refresh()
    assert is_missing(committed, "a", "late") == [False, False]


def test_a_bucket_is_not_listed_before_every_video(address, monkeypatch):
    write_in_bucket(address, "a")
    committed = committed_videos(address, ["tiny"])
    assert [committed.refresh(), committed.refresh()] == [1, 1]
    write_in_bucket(address, "b")
    committed.refresh()
    assert is_missing(committed, "a", "b") == [False, True]
