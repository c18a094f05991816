"""Kernels that prepare frames, on a CPU: torch's operations say what is right, bit for bit."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cache_schema.recipe import PreprocessRecipe
from extract.decode.planes import YuvMatrix, rgb_of_planes
from extract.encode.gpu import fused_preprocess as fused
from extract.encode.gpu.compiled import NoKernels
from extract.encode.gpu.operations import preprocess_by_operations
from extract.encode.preprocess import preprocess_frames
from tests.extract.encode.gpu.emulated import EmulatedKernels

BT_601 = YuvMatrix(black=128, luma=9539, red_v=13075, green_u=-3209, green_v=-6660, blue_u=16525)
BT_709_FULL = YuvMatrix(black=0, luma=8192, red_v=12901, green_u=-1535, green_v=-3835, blue_u=15201)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    return EmulatedKernels(tmp_path_factory.mktemp("emulated"))


@pytest.fixture
def kernels(emulated, monkeypatch):
    monkeypatch.setattr(fused, "kernels_of", lambda _: emulated)
    monkeypatch.setattr(fused, "preprocess_by_operations", None)


def recipe(size, crop, resize="shortest_edge", interpolation="bicubic"):
    return PreprocessRecipe(
        resize=resize, size=size, crop=crop, interpolation=interpolation,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip


RECIPES = [
    recipe((30, 30), (24, 24)),
    recipe((30, 30), (24, 24), interpolation="bilinear"),
    recipe((40, 24), None, "exact"),
    recipe((40, 70), (8, 69), "exact"),  # two blocks beside each other
    recipe((90, 90), (66, 66)),  # larger than some frames
]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("what", RECIPES, ids=str)
@pytest.mark.parametrize("size", [(48, 86), (86, 48), (30, 30), (90, 70)])
@pytest.mark.parametrize("matrix", [BT_601, BT_709_FULL, None])
def test_frames_become_what_a_cpu_makes_of_them(what, size, matrix):
    height, width = size
    rng = np.random.default_rng(0)
    shape = (2, height, width, 3) if matrix is None else (2, height * 3 // 2, width)
    images = rng.integers(0, 256, shape, np.uint8)
    rgb = images if matrix is None else np.stack([rgb_of_planes(one, matrix) for one in images])
    pixels = fused.fused_preprocess(torch.from_numpy(images), matrix, what)
    assert torch.equal(pixels, preprocess_frames(torch.from_numpy(rgb), what))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("level", [0, 255])
def test_what_a_filter_overshoots_is_cut_off(level):
    frames_NHWC = torch.full((1, 64, 64, 3), 255 - level, dtype=torch.uint8)
    frames_NHWC[:, 16:48, 16:48] = level
    what = recipe((48, 48), (48, 48))
    pixels = fused.fused_preprocess(frames_NHWC, None, what)
    assert torch.equal(pixels, preprocess_frames(frames_NHWC, what))


def test_every_weight_is_kept():
    whole = slice(0, 224)
    axis = fused.axis_of(1280, 224, whole, "bicubic")
    dense, precision = fused.integer_weights(1280, 224, "bicubic")
    again = np.zeros_like(dense)
    columns = axis.starts[:, None] + np.arange(len(axis.weights))
    np.put_along_axis(again, columns, axis.weights.T.astype(np.int32), axis=1)
    assert np.array_equal(again, dense)
    assert axis.precision == precision


@pytest.mark.parametrize("num_in", [64, 340, 1280, 3840, 7680])
def test_a_block_holds_what_its_columns_need(num_in):
    across = fused.axis_of(num_in, 224, slice(0, 224), "bicubic")
    tile = fused.tile_of(across)
    for first in range(0, 224, fused.COLUMNS):
        last = min(first + fused.COLUMNS, 224) - 1
        columns = across.starts[last] + len(across.weights) - across.starts[first]
        assert 0 < tile.lines * columns * 4 <= tile.shared_bytes <= fused.SHARED_BYTES
    assert tile.lines == fused.MOST_LINES or num_in > 1280


def test_lines_too_wide_for_a_block_are_left_to_torch(emulated, monkeypatch):
    monkeypatch.setattr(fused, "kernels_of", lambda _: emulated)
    monkeypatch.setattr(fused, "SHARED_BYTES", 4 * 40)
    fused._plan.cache_clear()
    asked = []
    monkeypatch.setattr(fused, "preprocess_by_operations", lambda *images: asked.append(images))
    fused.fused_preprocess(torch.zeros(1, 96, 64, dtype=torch.uint8), BT_601, RECIPES[0])
    fused._plan.cache_clear()
    assert len(asked) == 1


def kernels_that(monkeypatch, make):
    monkeypatch.setattr(fused, "Kernels", make)
    fused.kernels_of.cache_clear()
    found = fused.kernels_of(torch.device("cpu"))
    fused.kernels_of.cache_clear()
    return found


def test_kernels_are_tried_before_they_are_used(emulated, monkeypatch):
    assert kernels_that(monkeypatch, lambda *_: emulated) is emulated

    class Wrong:
        @staticmethod
        def launch(name, grid, block, shared, *arguments):
            emulated.launch(name, grid, block, shared, *arguments)
            if name == "resize_columns":
                arguments[-1][-1, -1, -1, -1].nextafter_(torch.tensor(9.0))

    assert kernels_that(monkeypatch, lambda *_: Wrong) is None


def fails(*_):
    raise NoKernels("no NVRTC")


@pytest.mark.parametrize("make", [fails, lambda *_: SimpleNamespace(launch=fails)])
def test_where_there_are_none_torch_does_it_and_the_log_says_why(monkeypatch, caplog, make):
    monkeypatch.setattr(fused, "Kernels", make)
    fused.kernels_of.cache_clear()
    planes_NPW = torch.randint(256, (2, 96, 64), dtype=torch.uint8)
    for _ in range(2):
        pixels = fused.fused_preprocess(planes_NPW, BT_601, RECIPES[0])
    fused.kernels_of.cache_clear()
    assert torch.equal(pixels, preprocess_by_operations(planes_NPW, BT_601, RECIPES[0]))
    (message,) = caplog.messages
    assert message.startswith("cpu prepares frames by torch's operations")
    assert message.endswith(": no NVRTC")


def test_trying_them_draws_no_number_that_others_would(emulated, monkeypatch):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    kernels_that(monkeypatch, lambda *_: emulated)
    assert torch.equal(torch.get_rng_state(), before)
