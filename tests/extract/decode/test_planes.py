"""Frames that leave as planes become the RGB that FFmpeg makes, bit for bit, or leave as RGB."""

from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
import torch

from extract.decode import pyav_planes
from extract.decode.frames import SampledFrame
from extract.decode.planes import Planes, rgb_of_planes
from extract.decode.process import DecoderProcess
from extract.decode.upright import AS_IT_IS
from extract.encode.encoders import EncoderOptions, load_encoder
from extract.encode.network_input import network_input
from tests.extract.videos import constant_pts, turn, variable_pts, write_video

BT_709, UNSPECIFIED, BT_601, SMPTE_170M, BT_2020 = 1, 2, 5, 6, 9
LIMITED, FULL = 1, 2


def frame_of(size, colorspace=UNSPECIFIED, color_range=LIMITED, name="yuv420p"):
    height, width = size
    pixels_PW = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels_PW, format=name)
    frame.colorspace, frame.color_range = colorspace, color_range
    return frame


def planes_of(frame):
    return pyav_planes.planes_of(
        frame, AS_IT_IS, partial(np.empty, dtype=np.uint8), lambda copy, num_bytes: copy()
    )


def rgb_of(planes):
    return rgb_of_planes(planes.pixels_PW, planes.matrix)


@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("color_range", [0, LIMITED, FULL])
@pytest.mark.parametrize("colorspace", [BT_709, UNSPECIFIED, BT_601, SMPTE_170M])
@pytest.mark.parametrize("size", [(2, 2), (66, 98), (64, 90), (720, 1280)])
def test_planes_become_what_ffmpeg_converts_a_frame_to(size, colorspace, color_range, name):
    frame = frame_of(size, colorspace, color_range, name)
    planes = planes_of(frame)()
    assert np.array_equal(rgb_of(planes), frame.to_ndarray(format="rgb24"))


@pytest.mark.long
@pytest.mark.parametrize(("colorspace", "color_range"), [(BT_709, LIMITED), (BT_601, FULL)])
def test_every_triple_of_samples_there_can_be(colorspace, color_range):
    # 64 blocks of each colour, and in each block four of the 256 levels of luma.
    block = np.arange(2**22).reshape(2048, 2048)
    u_and_v = [(block >> shift & 255).reshape(1024, 4096) for shift in (6, 14)]
    luma = (block[:, None, :, None] % 64 * 4 + np.arange(4).reshape(2, 1, 2)).reshape(4096, 4096)
    pixels_PW = np.concatenate([luma, *u_and_v]).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels_PW, format="yuv420p")
    frame.colorspace, frame.color_range = colorspace, color_range
    assert np.array_equal(rgb_of(planes_of(frame)()), frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize(
    "frame",
    [
        frame_of((64, 96), BT_2020),
        av.VideoFrame(96, 64, "yuv444p"),
        av.VideoFrame(96, 64, "yuv420p10le"),
        av.VideoFrame(95, 64, "yuv420p"),
        av.VideoFrame(96, 63, "yuv420p"),
    ],
)
def test_other_frames_have_no_planes(frame):
    assert planes_of(frame) is None


def test_where_ffmpeg_computes_otherwise_there_are_no_planes(monkeypatch):
    honest = pyav_planes._matrix

    def one_off(*args, **more):
        matrix = honest(*args, **more)
        return matrix._replace(luma=matrix.luma + 1)

    monkeypatch.setattr(pyav_planes, "_matrix", one_off)
    pyav_planes._matrix_of.cache_clear()
    try:
        assert planes_of(frame_of((64, 96))) is None
    finally:
        pyav_planes._matrix_of.cache_clear()


AS_PLANES = {
    "plain": {},
    "fast": {"fps": Fraction(30)},
    "every_frame": {"fps": None},
    "full_range": {"pix_fmt": "yuvj420p"},
    "bt709": {"options": {"colorspace": "bt709"}},
    "vp9": {"name": "a.webm", "codec": "libvpx-vp9"},
}
AS_RGB = {
    "444": {"pix_fmt": "yuv444p"},
    "10_bit": {"pix_fmt": "yuv420p10le"},
    "interlaced": {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}},
    "decord": {"backend": "decord"},
}


def decoded(path, fps, backend, *, planes):
    with DecoderProcess() as process:
        return list(process.decode(path, backend, fps, planes=planes))


def as_rgb(frame):
    if frame.matrix is None:
        return frame.pixels
    return rgb_of(Planes(frame.pixels, frame.matrix))


@pytest.mark.parametrize("name", AS_PLANES | AS_RGB)
def test_a_video_has_the_same_pixels_either_way(name, tmp_path):
    video = {"name": "a.mp4", "fps": Fraction(4), "backend": "pyav"} | (AS_PLANES | AS_RGB)[name]
    fps, backend, file = video.pop("fps"), video.pop("backend"), video.pop("name")
    path = write_video(tmp_path / file, variable_pts(40), **video)
    *frames, facts = decoded(path, fps, backend, planes=True)
    *expected, expected_facts = decoded(path, fps, backend, planes=False)
    assert {frame.matrix is None for frame in frames} == {name in AS_RGB}
    assert all(frame.matrix is None for frame in expected)
    assert [frame.num_ticks for frame in frames] == [frame.num_ticks for frame in expected]
    assert facts.num_frames == expected_facts.num_frames
    for one, other in zip(frames, expected, strict=True):
        assert np.array_equal(as_rgb(one), other.pixels)


def test_turned_frames_leave_as_rgb(tmp_path):
    path = turn(write_video(tmp_path / "a.mp4", constant_pts(10)), tmp_path / "turned.mp4")
    (frame, *_), (expected, *_) = (
        decoded(path, Fraction(4), "pyav", planes=planes) for planes in (True, False)
    )
    assert frame.matrix is None
    assert frame.pixels.shape == (96, 64, 3)
    assert np.array_equal(frame.pixels, expected.pixels)


@pytest.mark.parametrize("begun", [True, False])
def test_what_was_begun_in_another_way_is_not_begun_again(begun, tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(20))
    with DecoderProcess() as process:
        process.begin(path, "pyav", None, planes=begun)
        child = process._child
        *frames, _ = process.decode(path, "pyav", None, planes=not begun)
        assert process._child is child
    assert {frame.matrix is None for frame in frames} == {not begun}
    *expected, _ = decoded(path, None, "pyav", planes=False)
    for one, other in zip(frames, expected, strict=True):
        assert np.array_equal(as_rgb(one), other.pixels)


def test_an_encoder_is_given_the_same_pixels():
    encoder = load_encoder("efficientnet_lite0", EncoderOptions(device="cpu"))
    frames, expected = [], []
    for size in ((96, 160), (96, 160), (64, 96)):
        planes = planes_of(frame_of(size))()
        frames.append(SampledFrame(pixels=planes.pixels_PW, matrix=planes.matrix, num_ticks=1))
        expected.append(SampledFrame(pixels=rgb_of(planes), num_ticks=1))
    for one, other in zip(
        network_input(encoder, frames), network_input(encoder, expected), strict=True
    ):
        assert torch.equal(one, other)
