import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from cache_schema import ConfigError, VideoError, open_store
from extract import extract, load_encoder
from tests.extract.encode.test_encoders_foreign import MINE, NAME
from tests.extract.tiny_models import write_model
from tests.extract.videos import constant_pts, naive_frames, numbered_frame, write_video

CPU = {"device": "cpu", "compute_dtype": "float32"}
FRAMES = np.stack([numbered_frame(number) for number in range(5)])


def stored(path, tmp_path, name, **settings):
    """Return the rows that stage 1 stores of a video."""
    extract(path, tmp_path / "f.zarr", encoders=name, **CPU | settings)
    return open_store(tmp_path / "f.zarr").stream().read(path.stem)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("fake", {}),
        ("fake", {"pooling": "grid", "store_dtype": "bfloat16", "batch_size": 3}),
        ("efficientnet_lite0", {"store_dtype": "float32"}),
        ("clip", {"store_dtype": "float32"}),
        ("videomae", {"store_dtype": "float32"}),
        ("videomae", {"stride_frames": 3, "store_dtype": "bfloat16"}),
        ("timesformer", {"stride_frames": 6}),
    ],
)
def test_frames_in_memory_give_the_bits_that_stage_1_stores(tmp_path, model, settings):
    built_in = model in ("fake", "efficientnet_lite0")
    name = model if built_in else str(write_model(tmp_path, model)[0])
    path = write_video(tmp_path / "a.mp4", constant_pts(75))  # 2.5 s: 10 frames, 4 a second
    expected = stored(path, tmp_path, name, fps=4, **settings)
    encoder = load_encoder(name, fps=4, **CPU | settings)
    found = encoder.encode(naive_frames(path, Fraction(4)))
    assert found.values.dtype == expected.values.dtype
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.float32, expected.float32)
    np.testing.assert_array_equal(found.times_R2, expected.times_R2)
    assert encoder.recipe == open_store(tmp_path / "f.zarr").stream().recipe


def test_frames_may_be_an_array_a_list_or_an_iterator():
    encoder = load_encoder("fake", **CPU)
    array, listed, iterated = (
        encoder.encode(frames).values for frames in (FRAMES, list(FRAMES), iter(FRAMES))
    )
    np.testing.assert_array_equal(array, listed)
    np.testing.assert_array_equal(array, iterated)
    assert array.shape == (5, *encoder.row_shape)


def in_one_buffer(frames):
    """Yield one array again and again, with the next frame in it, as cameras do."""
    buffer = np.empty_like(frames[0])
    for frame in frames:
        np.copyto(buffer, frame)
        yield buffer


@pytest.mark.parametrize("model", ["fake", "videomae"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)])
def test_an_iterator_may_give_the_same_buffer_again(tmp_path, model, device):
    name = model if model == "fake" else str(write_model(tmp_path, model)[0])
    encoder = load_encoder(name, **CPU | {"device": device})
    frames = np.stack([numbered_frame(number) for number in range(20)])
    expected = encoder.encode(frames).values
    assert len(np.unique(expected, axis=0)) == len(expected)
    np.testing.assert_array_equal(encoder.encode(in_one_buffer(frames)).values, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_an_encoder_that_was_used_can_be_copied_to_other_processes(copied):
    encoder = load_encoder("efficientnet_lite0", **CPU)
    expected = encoder.encode(FRAMES).values
    np.testing.assert_array_equal(copied(encoder).encode(FRAMES).values, expected)
    np.testing.assert_array_equal(encoder.encode(FRAMES).values, expected)


def test_no_frames_are_no_rows():
    rows = load_encoder("fake", store_dtype="bfloat16", **CPU).encode([])
    assert (len(rows), rows.float32.shape, rows.times_R2.shape) == (0, (0, 16), (0, 2))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (FRAMES.astype(np.float32), r"a frame is float32 \(64, 96, 3\), expected RGB as uint8"),
        (FRAMES[..., :1], r"a frame is uint8 \(64, 96, 1\)"),
        (FRAMES[0], r"a frame is uint8 \(96, 3\)"),
        ([Image.new("RGB", (4, 4))], r"a frame is Image, expected a NumPy array.* np\.asarray"),
        ([[[[0, 0, 0]]]], "a frame is list, expected a NumPy array"),
        ([None], "a frame is NoneType, expected a NumPy array"),
    ],
)
def test_what_are_no_frames_is_refused(frames, message):
    with pytest.raises(VideoError, match=message):
        load_encoder("fake", **CPU).encode(frames)


def test_a_row_that_does_not_fit_its_dtype_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE.replace("mean(1)", "mean(1) + 1e6"))
    with pytest.raises(VideoError, match=r"infinite or NaN in float16\. Choose another store_d"):
        load_encoder(NAME, **CPU).encode(FRAMES)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="fps is 0: frames in memory have no times"):
        load_encoder("fake", fps=0, **CPU)


def test_settings_may_be_numbers_of_numpy_and_a_name_a_path(tmp_path):
    folder, _ = write_model(tmp_path, "clip")
    encoder = load_encoder(folder, batch_size=np.int64(2), fps=np.float32(0.1), **CPU)
    assert encoder.recipe == load_encoder(str(folder), fps="0.1", **CPU).recipe
    np.testing.assert_array_equal(
        encoder.encode(FRAMES).values,
        load_encoder(str(folder), batch_size=2, **CPU).encode(FRAMES).values,
    )


def test_a_setting_that_is_no_text_or_number_is_refused():
    with pytest.raises(
        ConfigError, match=r"key 'device' is device\(type='cpu'\), expected text or"
    ):
        load_encoder("fake", device=torch.device("cpu"))
