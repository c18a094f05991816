import json

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.image_transforms import get_resize_output_image_size
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from cache_schema.errors import ConfigError
from cache_schema.recipe import PreprocessRecipe
from extract.encode.encoders.preprocessor_config import parse_preprocessor_config
from extract.encode.preprocess import preprocess_frames, resized_size

PROCESSORS = {
    "clip": CLIPImageProcessorPil(),
    "vit": ViTImageProcessorPil(),
    "siglip": SiglipImageProcessorPil(resample=3),
    # The settings of facebook/dinov2-base.
    "dinov2": BitImageProcessorPil(
        size={"shortest_edge": 256}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229] * 3
    ),
}


def recipe(**changes):
    fields = {
        "resize": "shortest_edge",
        "size": (16, 16),
        "crop": (16, 16),
        "interpolation": "bicubic",
        "mean": (0.5, 0.25, 0.0),
        "std": (0.5, 0.25, 1.0),
    }
    return PreprocessRecipe(**fields | changes)


def frames(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def photograph(height, width):
    """A part of a real picture: noise would overstate what rounding does."""
    return torch.from_numpy(skimage.data.astronaut()[:height, :width].copy())[None]


@pytest.mark.parametrize("size", [(360, 501), (501, 300), (97, 130), (224, 224)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_values_equal_the_image_processors_of_transformers(name, size):
    processor, frame_NHWC = PROCESSORS[name], photograph(*size)
    settings = json.loads(processor.to_json_string())

    ours = preprocess_frames(frame_NHWC, parse_preprocessor_config(settings, name))
    theirs = processor(frame_NHWC[0].numpy(), return_tensors="pt")["pixel_values"]

    # Levels are whole numbers of 0..255: a rounding may tip the other way now and then. Pillow 13
    # resizes the height of tall pictures first, and so rounds in between at other places.
    levels = (ours - theirs).abs() * torch.tensor(processor.image_std).view(3, 1, 1) * 255
    is_tall = size[0] > size[1]
    assert levels.max() < (4.01 if is_tall else 2.01)
    assert levels.mean() < (0.25 if is_tall else 0.03)


def test_a_frame_has_the_same_values_in_every_batch():
    batch = frames(7, 50, 70, 3)
    together = preprocess_frames(batch, recipe())
    for i in range(7):
        alone = preprocess_frames(batch[i : i + 1], recipe())
        assert torch.equal(together[i : i + 1], alone)
    assert torch.equal(preprocess_frames(batch.flip(0), recipe()), together.flip(0))


def test_crop_is_central_and_values_are_normalized_per_channel():
    frame = torch.zeros(1, 16, 20, 3, dtype=torch.uint8)
    frame[0, :, 2:18] = torch.tensor([255, 51, 102], dtype=torch.uint8)
    pixels = preprocess_frames(frame, recipe())
    assert pixels.shape == (1, 3, 16, 16)
    # (1 - 0.5) / 0.5, (0.2 - 0.25) / 0.25, 0.4 / 1
    for channel, value in enumerate((1.0, -0.2, 0.4)):
        assert torch.allclose(pixels[0, channel], torch.tensor(value), atol=1e-6)


def test_frames_are_not_changed_and_pixels_are_contiguous():
    frame = frames(2, 16, 16, 3)
    before = frame.clone()
    assert preprocess_frames(frame, recipe()).is_contiguous()
    assert torch.equal(frame, before)


@given(size=st.integers(1, 600), height=st.integers(16, 4400), width=st.integers(16, 4400))
def test_shortest_edge_gives_the_size_transformers_gives(size, height, width):
    image = np.broadcast_to(np.uint8(0), (3, height, width))
    theirs = get_resize_output_image_size(
        image, size, default_to_square=False, input_data_format="channels_first"
    )
    ours = resized_size(recipe(size=(size, size), crop=(1, 1)), height, width)
    assert ours == theirs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": None}, "a centre crop or an exact height and width is needed"),
        ({"crop": (17, 16)}, r"crop \(17, 16\) is larger than size \(16, 16\)"),
    ],
)
def test_a_recipe_without_one_frame_size_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        preprocess_frames(frames(1, 20, 30, 3), recipe(**changes))


@pytest.mark.parametrize("wrong", [torch.zeros(1, 3, 8, 8), frames(8, 8, 3)])
def test_only_uint8_rgb_frames_are_taken(wrong):
    with pytest.raises(ValueError, match=r"expected uint8 \(N, H, W, 3\)"):
        preprocess_frames(wrong, recipe())
