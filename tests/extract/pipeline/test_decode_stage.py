import threading
from fractions import Fraction

import pytest

from extract.decode.process import DecoderProcess
from extract.pipeline.decode_stage import Decoded, DecodeStage, Failed, Frames
from extract.plan.jobs import Job
from extract.report.run_report import RunReport
from extract.sources.videos import VideoFile
from tests.extract.videos import constant_pts, write_video


def job(path):
    video = VideoFile(id=path.stem, path=path, size_bytes=0)
    return Job(video=video, digest="d", declared_seconds=0.0, streams=frozenset({"fake"}))


def stage(jobs, num_ahead=0, **settings):
    report = RunReport(store="s", streams=["fake"])
    process = DecoderProcess(**settings)
    return DecodeStage(
        jobs, Fraction(2), "pyav", report, process, num_ahead=num_ahead, planes=False
    )


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    return write_video(path, constant_pts(150), options={"bf": "0"})


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    path = tmp_path_factory.mktemp("longer") / "longer.mp4"
    return write_video(path, constant_pts(240), options={"bf": "0"})


def test_a_failure_is_an_item_between_the_others(short, tmp_path):
    with stage([job(short), job(tmp_path / "gone.mp4"), job(short)]) as items:
        kinds = [type(item) for item in items]
    assert kinds == [Frames, Decoded, Failed, Frames, Decoded]


@pytest.mark.parametrize("num_ahead", [1, 2, 7])
def test_videos_that_are_begun_ahead_come_in_their_order(short, longer, tmp_path, num_ahead):
    jobs = [job(path) for path in (short, longer, tmp_path / "gone.mp4", short, longer, short)]
    with stage(jobs) as items:
        expected = [described(item) for item in items]
    with stage(jobs, num_ahead) as items:
        assert [described(item) for item in items] == expected
    assert len(expected) == 11


def described(item):
    what = [frame.pixels.tobytes() for frame in item.frames] if isinstance(item, Frames) else None
    facts = (item.facts.num_frames, item.facts.duration_seconds) if isinstance(item, Decoded) else 0
    return type(item), item.job.video.id, what, facts


def test_the_next_videos_are_begun_before_one_is_read(short, longer, monkeypatch):
    asked = []
    for name in ("begin", "decode"):
        honest = getattr(DecoderProcess, name)

        def noted(process, path, *args, name=name, honest=honest, **kwargs):
            asked.append(f"{name} {path.stem}")
            return honest(process, path, *args, **kwargs)

        monkeypatch.setattr(DecoderProcess, name, noted)
    with stage([job(short), job(longer), job(short), job(longer)], 2) as items:
        list(items)
    assert asked == [
        *("begin longer", "begin short", "decode short"),
        *("begin longer", "decode longer", "decode short", "decode longer"),
    ]


def test_an_error_of_the_jobs_themselves_reaches_whoever_iterates(short):
    def jobs():
        yield job(short)
        raise RuntimeError("no more jobs")

    with stage(jobs()) as items, pytest.raises(RuntimeError, match="no more jobs"):
        list(items)


@pytest.mark.parametrize("num_ahead", [0, 2])
def test_leaving_early_ends_the_thread(short, num_ahead):
    before = threading.active_count()
    with stage([job(short)] * 50, num_ahead) as items:
        next(iter(items))
    assert threading.active_count() == before
    assert all(process._child is None for process in items._processes)
