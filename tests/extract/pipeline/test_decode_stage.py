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


def stage(jobs, backend="pyav", **settings):
    report = RunReport(store="s", streams=["fake"])
    return DecodeStage(jobs, Fraction(2), backend, report, DecoderProcess(**settings), planes=False)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    return write_video(path, constant_pts(150), options={"bf": "0"})


def test_a_failure_is_an_item_between_the_others(short, tmp_path):
    with stage([job(short), job(tmp_path / "gone.mp4"), job(short)]) as items:
        kinds = [type(item) for item in items]
    assert kinds == [Frames, Decoded, Failed, Frames, Decoded]


def test_an_error_of_the_jobs_themselves_reaches_whoever_iterates(short):
    def jobs():
        yield job(short)
        raise RuntimeError("no more jobs")

    with stage(jobs()) as items, pytest.raises(RuntimeError, match="no more jobs"):
        list(items)


def test_leaving_early_ends_the_thread(short):
    before = threading.active_count()
    with stage([job(short)] * 50) as items:
        next(iter(items))
    assert threading.active_count() == before
