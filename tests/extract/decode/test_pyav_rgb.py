from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from extract.decode.pyav_rgb import RgbConverter
from extract.decode.upright import AS_IT_IS


def frame(pixel_format, width, height, colorspace, color_range):
    made = VideoFrame(width, height, pixel_format)
    made.pts, made.time_base = 0, Fraction(1, 30)
    rng = np.random.default_rng(width)
    for plane in made.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    made.colorspace, made.color_range = colorspace, color_range
    return made


def test_one_converter_gives_what_a_new_one_for_each_frame_gives():
    # A frame's size, format and colours may differ from those of the frame before.
    frames = [
        frame(pixel_format, *size, colorspace, color_range)
        for pixel_format in ("yuv420p", "yuv444p", "gray", "yuv420p10le", "rgb24")
        for size in ((64, 48), (340, 256), (66, 50))
        for colorspace in (1, 5)
        for color_range in (1, 2)
    ]
    convert = RgbConverter()
    for one in frames + frames[::-1]:
        expected = one.to_ndarray(format="rgb24")
        np.testing.assert_array_equal(convert(one, AS_IT_IS)(), expected, err_msg=str(one))
        assert expected.any()
