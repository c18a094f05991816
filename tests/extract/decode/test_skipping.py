"""Frames that no tick falls on and no other frame is made from are skipped; the rest is equal."""

from fractions import Fraction

import av
import numpy as np
import pytest

from extract.decode import pyav_source, skipping, stretches
from extract.decode.frames import sample_frames
from extract.decode.pyav_source import PyavSource
from tests.extract.videos import OPEN_GOP, constant_pts, variable_pts, write_video

B_FRAMES = {"bf": "3", "g": "48"}

VIDEOS = {
    "plain": {"pts": constant_pts(90), "options": B_FRAMES},
    "pyramid": {"pts": constant_pts(90), "options": B_FRAMES | {"b-pyramid": "normal"}},
    "variable": {"pts": variable_pts(60), "options": B_FRAMES},
    "open_gop": {"pts": constant_pts(90), "options": OPEN_GOP},
    "no_b_frames": {"pts": constant_pts(45), "options": {"bf": "0"}},
}


class DecodesAll:
    """The reference: a source that cannot skip."""

    def __init__(self, path):
        self._source = PyavSource(path)
        self.decoder = self._source.decoder

    fps = property(lambda self: self._source.fps)
    size = property(lambda self: self._source.size)

    def __iter__(self):
        return iter(self._source)

    def end_seconds(self, last_seconds):
        return self._source.end_seconds(last_seconds)


def sampled(source, fps):
    facts = []
    frames = [(frame.pixels, frame.num_ticks) for frame in sample_frames(source, fps, facts)]
    return frames, facts[0]


def assert_equal(one, other):
    (frames, facts), (expected, expected_facts) = one, other
    assert len(frames) == len(expected)
    for (rgb, ticks), (expected_rgb, expected_ticks) in zip(frames, expected, strict=True):
        assert ticks == expected_ticks
        assert np.array_equal(rgb, expected_rgb)
    for name in ("duration_seconds", "num_frames", "fps", "width", "height", "decoder"):
        assert getattr(facts, name) == getattr(expected_facts, name)


@pytest.mark.parametrize("fps", [Fraction(1, 3), Fraction(2), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("name", VIDEOS)
def test_the_same_frames_are_kept(name, fps, tmp_path):
    path = write_video(tmp_path / "a.mp4", **VIDEOS[name])
    assert_equal(sampled(PyavSource(path), fps), sampled(DecodesAll(path), fps))


@pytest.fixture
def num_skipped(monkeypatch):
    """Count what decoders skip."""
    decoded, shown = [], []
    decode, honest = skipping.decode, skipping.SkippingDecoder.__iter__

    def count(*args):
        for item in decode(*args):
            decoded.append(item)
            yield item

    def count_all(self):
        for item in honest(self):
            shown.append(item)
            yield item

    monkeypatch.setattr(skipping, "decode", count)
    monkeypatch.setattr(skipping.SkippingDecoder, "__iter__", count_all)
    return lambda: (len(shown) - len(decoded), len(shown))


def test_most_frames_between_references_are_skipped(tmp_path, num_skipped):
    path = write_video(tmp_path / "a.mp4", constant_pts(90), options=B_FRAMES)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        references = sum(1 for _ in container.decode(video=0))
    frames, _ = sampled(PyavSource(path), Fraction(2))
    skipped, num_frames = num_skipped()
    assert num_frames == 90
    # All but those that others are made from, that are sampled, and the last.
    assert 0 < 90 - references - len(frames) - 1 <= skipped <= 90 - references


def test_nothing_is_skipped_where_every_frame_is_wanted(tmp_path, num_skipped):
    path = write_video(tmp_path / "a.mp4", constant_pts(30), options=B_FRAMES)
    sampled(PyavSource(path), Fraction(60))
    assert num_skipped() == (0, 30)
    sampled(PyavSource(path), None)
    assert num_skipped() == (0, 30)


@pytest.mark.parametrize("after", [0, 1, 37])
def test_a_file_that_turns_out_not_to_be_plain_is_decoded_whole(after, tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", constant_pts(60), options=B_FRAMES)
    expected = sampled(DecodesAll(path), Fraction(4))
    honest = skipping.SkippingDecoder.__iter__

    def gives_up(self):
        for number, frame in enumerate(honest(self)):
            if number == after:
                raise stretches.Unplain
            yield frame

    monkeypatch.setattr(skipping.SkippingDecoder, "__iter__", gives_up)
    assert_equal(sampled(PyavSource(path), Fraction(4)), expected)


def test_other_containers_are_decoded_whole(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", constant_pts(30), options=B_FRAMES)
    monkeypatch.setattr(pyav_source, "SkippingDecoder", None)
    assert len(sampled(PyavSource(path), Fraction(2))[0]) > 0
