"""What of a video that cannot be read stands for later runs, and what may pass."""

import errno
import io
import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from cache_schema.errors import PassingVideoError, StoreError, VideoError
from cache_schema.place import Address
from extract.decode import pyav_source
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames
from extract.decode.pyav_source import open_container
from tests.extract.videos import constant_pts, write_video

PLACE = Address("s3://bucket/v.mp4")
STALE = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
CUT_OFF = StoreError("s3://bucket/v.mp4: cannot be read (no answer). Run the same command again.")


class Breaks(io.BytesIO):
    """A file that can be read up to a byte only."""

    def __init__(self, data, most, error):
        super().__init__(data)
        self._most, self._error = most, error

    def read(self, size=-1):
        if self.tell() + size > self._most:
            raise self._error
        return super().read(size)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_video(
        tmp_path_factory.mktemp("video") / "v.mp4",
        constant_pts(120),
        size=(320, 240),
        options={"crf": "1", "g": "10", "bf": "0"},
        container_options={"movflags": "faststart"},
    ).read_bytes()


@pytest.fixture
def breaks(data, monkeypatch):
    """Return a function that has an object's connection break with an error."""
    most = 2**16
    assert len(data) > 2 * most  # FFmpeg reads 2**15 at a time

    def arrange(error):
        monkeypatch.setattr(pyav_source, "ObjectFile", lambda _: Breaks(data, most, error))

    return arrange


@pytest.mark.parametrize("error", [STALE, CUT_OFF, MemoryError()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("fps", [None, Fraction(2)])
def test_what_breaks_off_in_the_middle_may_pass(breaks, fps, error):
    breaks(error)
    with pytest.raises(PassingVideoError, match=r"un the same command again\.") as caught:
        list(sample_frames(open_video(PLACE, "pyav"), fps, []))
    assert "cannot be decoded beyond" in str(caught.value) or error is CUT_OFF


def test_where_the_last_packet_lies_is_not_known_if_it_cannot_be_read(breaks):
    breaks(STALE)
    with pytest.raises(PassingVideoError, match="cannot be read to its end: Stale file handle"):
        pyav_source._last_second(PLACE)


def test_a_file_that_is_not_there_may_come(tmp_path):
    with pytest.raises(PassingVideoError, match=r"No such file or directory\. Once it can be read"):
        open_container(tmp_path / "v.mp4")


@pytest.mark.parametrize("again", [errno.EIO, None], ids=["still", "no more"])
def test_a_file_system_that_fails_at_the_beginning_may_do_better(tmp_path, monkeypatch, again):
    path = write_video(tmp_path / "v.mp4", constant_pts(9))
    honest = av.open

    def broken(place, **options):
        if isinstance(place, str):
            av.error.err_check(-errno.EIO)
        if again is not None:
            raise OSError(again, "as Python has it")
        return honest(place, **options)

    monkeypatch.setattr(av, "open", broken)
    with pytest.raises(PassingVideoError, match=r"Input/output error\. Once it can be read"):
        open_container(path)


@pytest.mark.parametrize("place", ["file", "object"])
def test_what_ffmpeg_calls_an_input_error_stands_if_it_is_the_content(tmp_path, monkeypatch, place):
    path = write_video(tmp_path / "v.mkv", constant_pts(9))
    path.write_bytes(path.read_bytes()[:300])  # within the header
    with pytest.raises(av.error.OSError, match="Input/output error"), av.open(str(path)):
        pass
    monkeypatch.setattr(pyav_source, "ObjectFile", lambda _: io.BytesIO(path.read_bytes()))
    with pytest.raises(VideoError, match=r"Input/output error\. It is no video, or") as caught:
        open_container(path if place == "file" else Address("s3://bucket/v.mkv"))
    assert caught.value.stands


def test_what_is_no_video_stands(tmp_path):
    path = Path(tmp_path / "v.mp4")
    path.write_text("no video")
    with pytest.raises(VideoError, match="It is no video") as caught:
        open_container(path)
    assert caught.value.stands
