"""A video decoded on several threads, each at another stretch, has the frames it has on one."""

import os
import re
import threading
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from cache_schema.errors import VideoError
from extract.decode import stretches
from extract.decode.entry_points import EntryPoints
from extract.decode.pyav_source import PyavSource
from tests.extract.decode.test_skipping import DecodesAll, assert_equal, sampled
from tests.extract.videos import OPEN_GOP, constant_pts, variable_pts, write_video

CLOSED = {"bf": "3", "g": "20", "x264-params": "scenecut=0"}

VIDEOS = {
    "closed": {"pts": constant_pts(110), "options": CLOSED},
    "pyramid": {"pts": constant_pts(110), "options": CLOSED | {"b-pyramid": "normal", "refs": "5"}},
    "no_b_frames": {"pts": constant_pts(110), "options": CLOSED | {"bf": "0"}},
    "variable": {"pts": variable_pts(70), "options": CLOSED},
    "late": {"pts": [9000 + pts for pts in constant_pts(70)], "options": CLOSED},
    "slices": {"pts": constant_pts(70), "options": CLOSED | {"slices": "3"}},
    "interlaced": {"pts": constant_pts(70), "options": CLOSED | {"flags": "+ildct+ilme"}},
    "odd_size": {"pts": constant_pts(70), "options": CLOSED, "size": (98, 66)},
    "every_frame_a_key": {"pts": constant_pts(40), "options": {"g": "1"}},
    "baseline": {"pts": constant_pts(70), "options": {"profile": "baseline", "g": "20"}},
}

WHOLE = {
    "one_key": {"pts": constant_pts(70), "options": CLOSED | {"g": "250"}},
    "open": {"pts": constant_pts(70), "options": OPEN_GOP},
    "4:4:4": {"pts": constant_pts(70), "options": CLOSED, "pix_fmt": "yuv444p"},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a function that writes one of the videos, once."""
    folder = tmp_path_factory.mktemp("videos")
    return cache(lambda name: write_video(folder / f"{name}.mp4", **VIDEOS[name]))


@pytest.fixture(scope="module")
def frames_of(written):
    """Return a function that decodes all of a video on one thread, once for each rate."""
    return cache(lambda name, fps: sampled(DecodesAll(written(name)), fps))


@pytest.fixture
def started(monkeypatch):
    """Note how many packets each stretch has that is decoded beside others."""
    sizes = []
    start = stretches._Threads.start

    def note(self, packets, num_bytes):
        sizes.append(len(packets))
        return start(self, packets, num_bytes)

    monkeypatch.setattr(stretches._Threads, "start", note)
    return sizes


def cores(monkeypatch, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))


@pytest.mark.parametrize("num_cores", [1, 2, 7])
@pytest.mark.parametrize("fps", [Fraction(1, 3), Fraction(2), Fraction(60)])
@pytest.mark.parametrize("name", VIDEOS)
def test_the_same_frames_whatever_the_number_of_cores(
    name, fps, num_cores, written, frames_of, monkeypatch, started
):
    path, expected = written(name), frames_of(name, fps)
    cores(monkeypatch, num_cores)
    assert_equal(sampled(PyavSource(path), fps), expected)
    assert (len(started) > 1) == (num_cores > 1)


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_no_entry_points_is_decoded_as_one(name, tmp_path, monkeypatch, started):
    path = write_video(tmp_path / "a.mp4", **WHOLE[name])
    cores(monkeypatch, 2)
    assert_equal(sampled(PyavSource(path), Fraction(2)), sampled(DecodesAll(path), Fraction(2)))
    assert not started


def test_large_stretches_and_all_behind_them_are_decoded_as_one(tmp_path, monkeypatch, started):
    # 20 packets with 1 frame that is asked for have more than 20 KB, 10 with 10 frames 100 KB.
    path = write_video(tmp_path / "a.mp4", constant_pts(110), options=CLOSED)
    cores(monkeypatch, 2)
    monkeypatch.setattr(stretches, "MOST_BYTES", 60_000)
    assert_equal(sampled(PyavSource(path), Fraction(2)), sampled(DecodesAll(path), Fraction(2)))
    assert started == [20] * 5 + [10]
    started.clear()
    assert_equal(sampled(PyavSource(path), Fraction(15)), sampled(DecodesAll(path), Fraction(15)))
    assert not started


def test_no_more_stretches_are_read_ahead_than_may_wait(tmp_path, monkeypatch, started):
    path = write_video(tmp_path / "a.mp4", constant_pts(400), options=CLOSED)
    cores(monkeypatch, 2)
    frames = PyavSource(path).at(Fraction(2))
    for _ in range(20):
        next(frames)
    assert len(started) == 3  # the one that is shown, and two beside it
    next(frames)
    assert len(started) == 4
    frames.close()


def test_nor_more_bytes_of_them(tmp_path, monkeypatch, started):
    path = write_video(tmp_path / "a.mp4", constant_pts(400), options=CLOSED)
    cores(monkeypatch, 7)
    # 20 packets, and 20 frames of 9 KB that are asked for: more than 200 KB, and less than 300.
    monkeypatch.setattr(stretches, "AHEAD_BYTES", 600_000)
    frames = PyavSource(path).at(Fraction(30))
    next(frames)
    assert len(started) == 2
    for _ in range(20):
        next(frames)
    assert len(started) == 3
    frames.close()


def test_leaving_early_ends_the_threads(tmp_path, monkeypatch, started):
    path = write_video(tmp_path / "a.mp4", constant_pts(400), options=CLOSED)
    cores(monkeypatch, 2)
    before = threading.active_count()
    frames = PyavSource(path).at(Fraction(2))
    next(frames)
    frames.close()
    assert started
    assert threading.active_count() == before


def outcome(source):
    try:
        return sampled(source, Fraction(10))
    except VideoError as error:
        return str(error)


@pytest.mark.parametrize("name", ["no_b_frames", "closed"])
@pytest.mark.parametrize("seed", [*range(8), 29, 136, 149])
def test_damage_has_the_same_outcome_whatever_the_number_of_cores(
    seed, name, written, tmp_path, monkeypatch
):
    content = bytearray(written(name).read_bytes())
    with av.open(str(written(name))) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    random = np.random.default_rng(seed)
    for _ in range(1 + seed % 3):
        start, size = places[random.integers(len(places))]
        content[start + random.integers(size)] ^= int(random.integers(1, 256))
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    outcomes = []
    for num_cores in (1, 2):
        cores(monkeypatch, num_cores)
        outcomes.append(outcome(PyavSource(path)))
    one, other = outcomes
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
    else:
        assert_equal(one, other)


def context_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context, [packet for packet in container.demux(stream) if packet.size]


def entries(context, packets):
    points = EntryPoints(context)
    return [number for number, packet in enumerate(packets) if points.is_entry(packet)]


def with_unit(packet, unit, *, in_front=True):
    """Return a packet with one more unit."""
    extra = len(unit).to_bytes(4) + unit
    data = extra + bytes(packet) if in_front else bytes(packet) + extra
    made = av.Packet(data)
    made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
    return made


@pytest.fixture
def closed(tmp_path):
    return context_of(write_video(tmp_path / "a.mp4", constant_pts(80), options=CLOSED))


def test_entry_points_are_the_idr_pictures(closed):
    assert entries(*closed) == [0, 20, 40, 60]


def test_key_frames_that_later_pictures_reach_across_are_none(tmp_path):
    context, packets = context_of(
        write_video(tmp_path / "a.mp4", constant_pts(80), options=OPEN_GOP)
    )
    assert sum(packet.is_keyframe for packet in packets) > 1
    assert entries(context, packets) == [0]


def test_a_parameter_set_of_the_header_may_be_repeated(closed):
    context, packets = closed
    size = int.from_bytes(context.extradata[6:8])
    sequence = context.extradata[8 : 8 + size]
    assert sequence[0] & 31 == 7
    packets[20] = with_unit(packets[20], sequence)
    assert entries(context, packets) == [0, 20, 40, 60]


@pytest.mark.parametrize("place", [0, 7, 20])
@pytest.mark.parametrize("kind", [7, 8])
def test_from_a_parameter_set_on_that_the_header_lacks_there_is_none(place, kind, closed):
    context, packets = closed
    packets[place] = with_unit(packets[place], bytes([0x60 | kind, 1, 2, 3]))
    assert entries(context, packets) == [number for number in (0, 20) if number < place]


@pytest.mark.parametrize(("version", "expected"), [(33, []), (34, [0, 20, 40, 60])])
def test_files_of_early_versions_of_x264_have_none(version, expected, closed):
    context, packets = closed
    text = bytes(packets[0])
    (found,) = set(re.findall(rb"x264 - core (\d+)", text))
    changed = text.replace(b"core " + found, b"core " + str(version).encode().ljust(len(found)))
    packets[0] = av.Packet(changed)
    assert entries(context, packets) == expected
