"""What containers say, and do not say, of frames that are right."""

import av
import numpy as np
import pytest

from cache_schema.errors import VideoError
from extract.decode.backends import open_video
from extract.decode.frames import VideoFacts, sample_frames
from extract.decode.pictures import pictures_at
from extract.decode.pyav_source import open_container, video_stream
from tests.extract.videos import (
    add_silence,
    constant_pts,
    cut,
    read_number,
    rename_codec,
    write_audio,
    write_video,
)

BACKENDS = pytest.mark.parametrize("backend", ["pyav", "decord"])
TS_PACKET = 188


def numbers(path, backend="pyav"):
    """Return the numbers of all frames, and what is known of the video."""
    facts: list[VideoFacts] = []
    frames = list(sample_frames(open_video(path, backend), None, facts))
    return [read_number(frame.pixels) for frame in frames], facts[0]


@BACKENDS
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_text_that_is_not_utf_8_leaves_the_pictures_as_they_are(tmp_path, suffix, backend):
    path = write_video(tmp_path / f"v{suffix}", constant_pts(10))
    name = b"VideoHandler" if suffix == ".mp4" else b"Lavf"  # of the track, of the writer
    data = path.read_bytes()
    assert name in data
    path.write_bytes(data.replace(name, b"\xe9" + name[1:]))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert numbers(path, backend)[0] == list(range(10))


@BACKENDS
def test_sound_may_go_on_behind_the_last_frame(tmp_path, backend):
    flat = write_video(tmp_path / "flat.mkv", constant_pts(60))
    path = add_silence(flat, tmp_path / "v.mkv", seconds=6)
    with av.open(str(path)) as container:
        assert container.duration > 5.9 * av.time_base
        assert container.streams.video[0].duration is None
    found, facts = numbers(path, backend)
    assert found == list(range(60))
    assert facts.duration_seconds == pytest.approx(2, abs=0.01)


def test_a_video_with_sound_that_is_cut_off_is_told_from_one_that_is_silent_at_its_end(tmp_path):
    flat = write_video(tmp_path / "flat.mkv", constant_pts(180), options={"bf": "0"})
    path = cut(add_silence(flat, tmp_path / "v.mkv", seconds=6), 0.5)
    with pytest.raises(VideoError, match="is truncated: frames end at"):
        numbers(path)


def no_codec(path):
    return rename_codec(write_video(path, constant_pts(9)), b"avc1", b"zzzz")


@pytest.mark.parametrize("write", [write_audio, no_codec])
def test_a_container_without_a_video_is_closed(tmp_path, write):
    container = open_container(write(tmp_path / "v.mp4"))
    with pytest.raises(VideoError):
        video_stream(container)
    with pytest.raises(AssertionError, match="not open"):
        container.seek(0)


def lost_packet(data, place):
    """Return a transport stream without one of its video packets, the next from a place on."""
    while True:
        place += TS_PACKET
        header = data[place : place + 4]
        pid, starts = int.from_bytes(header[1:3]) & 0x1FFF, header[1] & 0x40
        if pid == 0x100 and not starts:
            return data[:place] + data[place + TS_PACKET :]


def test_a_picture_before_the_video_is_not_taken_for_it(tmp_path):
    path = tmp_path / "v.mkv"
    picture = write_video(tmp_path / "p.mkv", [0])
    video = write_video(tmp_path / "w.mkv", constant_pts(9))
    with av.open(str(picture)) as one, av.open(str(video)) as other, av.open(path, "w") as target:
        # All streams before the first packet.
        sources = [(source, source.streams.video[0]) for source in (one, other)]
        targets = [target.add_stream_from_template(stream) for _, stream in sources]
        for (source, stream), copy in zip(sources, targets, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
    with pytest.raises(VideoError, match="begins with a stream of one picture"):
        numbers(path)


@BACKENDS
def test_a_transport_stream_that_lost_a_packet_is_refused(tmp_path, backend):
    noisy = {"crf": "1", "bf": "0", "g": "30"}  # several packets a frame
    path = write_video(tmp_path / "v.ts", constant_pts(90), options=noisy)
    assert numbers(path, backend)[0] == list(range(90))
    data = path.read_bytes()
    path.write_bytes(lost_packet(data, len(data) // TS_PACKET // 2 * TS_PACKET))
    with pytest.raises(VideoError, match=r"is damaged: data is missing at about 1"):
        numbers(path, backend)


@pytest.mark.parametrize(("reordered", "start"), [(0, 1200), (2, 1280)])
def test_transport_streams_that_were_joined_are_one_video(tmp_path, reordered, start):
    options = {"bf": str(reordered), "x264-params": "b-adapt=0"}
    first = write_video(tmp_path / "a.ts", constant_pts(30), options=options)
    later = write_video(tmp_path / "b.ts", [start + p for p in constant_pts(30)], options=options)
    path = tmp_path / "v.ts"
    path.write_bytes(first.read_bytes() + later.read_bytes())
    with av.open(str(path)) as container:
        assert any(packet.is_corrupt for packet in container.demux(video=0)), "at the seam"
    found, _ = numbers(path)
    assert found == [*range(30), *range(30)]


def test_avi_counts_frames_in_the_order_they_are_shown(tmp_path):
    reordered = {"bf": "2", "x264-params": "b-adapt=0"}
    path = write_video(tmp_path / "v.avi", constant_pts(50, 25), rate=25, options=reordered)
    with av.open(str(path)) as container:
        guessed = [frame.pts for frame in container.decode(video=0)]
    assert guessed != sorted(guessed)
    found, facts = numbers(path)
    assert found == list(range(50))
    np.testing.assert_allclose(np.diff(facts.frame_seconds), 0.04)
    assert len(set(pictures_at(path, [0.2, 1.0, 1.99]))) == 3


def test_without_reordered_frames_an_avi_starts_at_zero(tmp_path):
    path = write_video(tmp_path / "v.avi", constant_pts(50, 25), rate=25, options={"bf": "0"})
    found, facts = numbers(path)
    assert found == list(range(50))
    assert (facts.frame_seconds[0], facts.duration_seconds) == (0, 2)
