"""What a run says it took: seconds of processors, memory and bytes."""

import time

import pytest

from cache_schema.store import open_store
from extract.report.run_report import RunReport
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(60))
    write_video(tmp_path / "videos" / "b.mp4", constant_pts(30))
    return tmp_path / "videos"


def test_a_run_says_what_its_stages_took(videos, tmp_path):
    started = time.process_time()
    facts = run(videos, tmp_path / "f.zarr").summary()
    ours = time.process_time() - started
    seconds = facts["cpu_seconds"]
    assert set(seconds) == {"decode", "encode", "write"}
    assert 0 < seconds["encode"] + seconds["write"] <= ours
    assert facts["gpu_seconds"] is None  # it ran on a CPU
    # The decoding process has imported PyAV and decoded: a tenth of a second at the very least.
    assert seconds["decode"] > 0.1
    # One has imported torch, the other only PyAV and NumPy.
    assert facts["peak_bytes"]["encode"] > 2 * facts["peak_bytes"]["decode"] > 40 * 2**20


def test_a_run_says_which_bytes_it_moved(videos, tmp_path):
    facts = run(videos, tmp_path / "f.zarr").summary()
    assert facts["video_bytes"] == sum(path.stat().st_size for path in videos.iterdir())
    assert facts["feature_bytes"] == open_store(tmp_path / "f.zarr").stream().num_rows * 16 * 2


def test_a_run_that_did_nothing_says_nothing_of_its_speed(videos, tmp_path):
    assert "video-hours per hour (busy: decode" in run(videos, tmp_path / "f.zarr").text()
    nothing = run(videos, tmp_path / "f.zarr").text()
    assert nothing.splitlines() == [
        "0 videos extracted, 2 already there, 0 failed.",
        f"Store: {tmp_path}/f.zarr (stream fake)",
    ]


def test_workers_add_up_but_for_memory():
    report = RunReport(store="f.zarr", streams=["x"])
    for seconds, peak in ((1.5, 300), (2.0, 200)):
        share = RunReport(store="f.zarr", streams=[], video_bytes=10, feature_bytes=4)
        share.cpu_seconds["encode"] = seconds
        share.peak_bytes["encode"] = peak
        share.note_gpu("encode", 2 * seconds)
        share.note_gpu("decode", None)
        report.add(share)
    facts = report.summary()
    assert facts["cpu_seconds"] == {"encode": 3.5}
    assert facts["gpu_seconds"] == {"encode": 7.0}
    assert facts["peak_bytes"] == {"encode": 300}
    assert (facts["video_bytes"], facts["feature_bytes"]) == (20, 8)
