import os
import time
from pathlib import Path

import pytest

from cache_schema.errors import StoreError
from cache_schema.store import create_store
from cache_schema.testing import make_recipe, make_rows, make_times, make_video
from extract.plan.committed import committed_videos
from extract.plan.jobs import Job
from extract.plan.remaining import Remaining
from extract.report.run_report import RunReport
from extract.sources.videos import VideoFile
from extract.workers.bundles import Bundle, bundle_jobs
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video

STREAMS = ("x", "y")


def job(name, seconds=1.0, streams=STREAMS):
    video = VideoFile(id=name, path=Path(f"{name}.mp4"), size_bytes=1)
    return Job(video=video, digest="d", declared_seconds=seconds, streams=frozenset(streams))


@pytest.fixture
def store(tmp_path):
    """Return a store with two empty streams."""
    writer = create_store(tmp_path / "f.zarr")
    for name in STREAMS:
        writer.stream(name, make_recipe(), (4,))
    writer.close()
    return tmp_path / "f.zarr"


def commit(store, stream, *names, close=True):
    """Commit videos as another process would, in a part of its own."""
    writer = create_store(store)
    for name in names:
        part = writer.stream(stream, make_recipe(), (4,))
        part.append(make_rows(1))
        part.commit(make_video(name), make_times(1))
    if close:
        writer.close()
    return writer


def remaining(store, jobs):
    report = RunReport(store=str(store), streams=list(STREAMS))
    return Remaining(jobs, committed_videos(store, STREAMS), report), report


def test_what_another_process_commits_meanwhile_is_passed_over(store):
    left, report = remaining(store, [job("a"), job("b"), job("c")])
    jobs = iter(left)
    assert next(jobs).video.id == "a"
    for stream in STREAMS:
        commit(store, stream, "b")
    assert [one.video.id for one in jobs] == ["c"]
    assert report.num_skipped == 1


def test_a_video_that_one_stream_has_by_now_is_done_for_the_other(store):
    commit(store, "x", "a")
    left, report = remaining(store, [job("a")])
    assert [one.streams for one in left] == [frozenset({"y"})]
    assert report.num_skipped == 0


def test_longest_first_while_alone_and_every_order_while_others_are_at_work(store):
    names = [f"v{number}" for number in range(20)]
    jobs = [job(name) for name in names]
    assert [one.video.id for one in remaining(store, jobs)[0]] == names
    writer = commit(store, "x", "other", close=False)
    orders = [[one.video.id for one in remaining(store, jobs)[0]] for _ in range(2)]
    writer.close()
    assert orders[0] != orders[1] != names
    assert sorted(orders[0]) == sorted(names)


def test_a_part_that_nobody_writes_to_any_more_does_not_count_as_others(store):
    writer = commit(store, "x", "other", close=False)
    for path in store.glob("x/parts/*/*/c/**/*"):
        os.utime(path, (time.time() - 100, time.time() - 100))
    commits = committed_videos(store, STREAMS)
    assert commits.refresh() == 0
    assert commits.missing("other", STREAMS) == {"y"}
    writer.close()


def test_groups_bundle_short_videos_and_leave_long_ones_alone():
    jobs = [job("long", 1000.0), *[job(f"s{number:02d}", 10.0) for number in range(60)]]
    # 1600 s for 2 workers, 8 groups each: bundles of at least 100 s.
    groups = bundle_jobs(jobs, 2)
    assert [len(group.jobs) for group in groups] == [1, 10, 10, 10, 10, 10, 10]
    assert [one.video.id for group in groups for one in group.jobs] == [j.video.id for j in jobs]


def test_groups_count_a_minute_for_a_video_of_unknown_length():
    assert [len(group.jobs) for group in bundle_jobs([job("a", 0.0), job("b", 0.0)], 1)] == [1, 1]
    assert bundle_jobs([], 3) == []


def test_a_split_group_remembers_its_deaths():
    split = Bundle(jobs=(job("a"), job("b")), deaths=2).split()
    assert [(group.jobs[0].video.id, group.deaths) for group in split] == [("a", 2), ("b", 2)]


def test_a_second_run_on_an_hdf5_store_says_that_the_first_holds_it(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(15))
    writer = create_store(tmp_path / "f.h5")
    with pytest.raises(StoreError, match="another process writes it"):
        run(tmp_path / "videos", tmp_path / "f.h5")
    writer.close()
    assert run(tmp_path / "videos", tmp_path / "f.h5").num_done == 1
