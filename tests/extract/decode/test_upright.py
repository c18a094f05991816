import itertools

import numpy as np
import pytest

from extract.decode.backends import open_video
from extract.decode.pyav_source import PyavSource
from tests.extract.videos import constant_pts, turn, write_video

MATRICES = [
    matrix
    for x, y in itertools.product((1, -1), repeat=2)
    for matrix in ((x, 0, 0, y), (0, x, y, 0))
]


def moved(image, matrix):
    """Move each pixel to where the matrix says, and what is there to the corner."""
    a, b, c, d = matrix
    places = [
        (b * column + d * row, a * column + c * row) for row, column in np.ndindex(image.shape[:2])
    ]
    top, left = np.min(places, axis=0)
    height, width = np.max(places, axis=0) - (top, left) + 1
    shown = np.zeros((height, width, 3), np.uint8)
    for (row, column), pixel in zip(places, image.reshape(-1, 3), strict=True):
        shown[row - top, column - left] = pixel
    return shown


def first_image(path, backend):
    source = open_video(path, backend)
    convert = next(convert for _, convert in source)
    return source.size, convert()


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_a_frame_is_shown_as_its_display_matrix_says(tmp_path, matrix, backend):
    flat = write_video(tmp_path / "flat.mp4", constant_pts(3), size=(96, 64))
    _, as_stored = first_image(flat, "pyav")
    assert not np.array_equal(as_stored, as_stored[::-1])
    size, image = first_image(turn(flat, tmp_path / "turned.mp4", matrix), backend)
    np.testing.assert_array_equal(image, moved(as_stored, matrix))
    assert size == image.shape[:2]


def test_of_an_angle_between_the_nearest_right_one_is_taken(tmp_path):
    flat = write_video(tmp_path / "flat.mp4", constant_pts(3))
    tilted = turn(flat, tmp_path / "tilted.mp4", (1, 1, -1, 1))
    assert isinstance(open_video(tilted, "pyav"), PyavSource)
    size, image = first_image(tilted, "pyav")
    assert size == image.shape[:2] == (64, 96)
