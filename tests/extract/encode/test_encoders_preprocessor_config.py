import json

import numpy as np
import pytest
import torch
from transformers.models.vivit.image_processing_vivit import VivitImageProcessor

from cache_schema.errors import ConfigError
from cache_schema.recipe import PreprocessRecipe
from extract.encode.encoders.preprocessor_config import parse_preprocessor_config
from extract.encode.preprocess import preprocess_frames
from tests.extract.tiny_models import PREPROCESSOR


def parse(**changes):
    settings = {k: v for k, v in (PREPROCESSOR | changes).items() if v != "absent"}
    return parse_preprocessor_config(settings, "model/preprocessor_config.json")


def test_current_files_are_read_field_by_field():
    assert parse() == PreprocessRecipe(
        resize="shortest_edge",
        size=(36, 36),
        crop=(32, 32),
        interpolation="bicubic",
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
    )


def test_height_and_width_are_exact_and_no_crop_is_none():
    recipe = parse(size={"height": 20, "width": 24}, do_center_crop=False, resample=2)
    assert (recipe.resize, recipe.size, recipe.crop) == ("exact", (20, 24), None)
    assert recipe.interpolation == "bilinear"


@pytest.mark.parametrize(
    ("processor", "resize"),
    [
        ({"feature_extractor_type": "CLIPFeatureExtractor"}, "shortest_edge"),
        ({"feature_extractor_type": "VideoMAEFeatureExtractor"}, "shortest_edge"),
        ({"image_processor_type": "ViTImageProcessorFast"}, "exact"),
        ({"feature_extractor_type": "DeiTFeatureExtractor"}, "exact"),
    ],
)
def test_a_bare_size_means_what_the_processor_class_takes_it_for(processor, resize):
    recipe = parse(size=36, crop_size=32, **processor)
    assert (recipe.resize, recipe.size, recipe.crop) == (resize, (36, 36), (32, 32))


def test_without_normalization_pixels_stay_between_zero_and_one():
    recipe = parse(do_normalize=False, image_mean="absent")
    assert (recipe.mean, recipe.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_vivits_offset_scale_gives_the_values_of_its_own_processor():
    processor = VivitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    theirs = processor([frame], return_tensors="pt")["pixel_values"][0]
    recipe = parse_preprocessor_config(json.loads(processor.to_json_string()), "vivit")
    ours = preprocess_frames(torch.from_numpy(frame)[None], recipe)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "absent"}, "model/preprocessor_config.json: key 'size' is missing"),
        ({"resample": "absent"}, "key 'resample' is missing"),
        ({"image_mean": "absent"}, "key 'image_mean' is missing"),
        ({"crop_size": "absent"}, "key 'crop_size' is missing"),
        ({"size": 36}, r'size = 36 is not supported: write {"shortest_edge": N} or'),
        ({"size": {"longest_edge": 36}}, "expected shortest_edge, or height and width"),
        ({"crop_size": {"shortest_edge": 3}}, "crop_size = .* expected height and width"),
        ({"resample": 1}, r"resample = 1 is not supported: expected 2 \(bilinear\) or 3"),
        ({"do_resize": False}, "do_resize = False is not supported: frames are always resized"),
        ({"do_rescale": False}, "do_rescale = False is not supported"),
        ({"do_pad": True}, "do_pad = True is not supported: a step this pipeline does not have"),
        ({"crop_pct": 0.875}, "crop_pct = 0.875 is not supported"),
        ({"image_mean": [0.5]}, r"image_mean = \[0.5\] is not supported: expected three numbers"),
        ({"size": "36"}, "expected shortest_edge, or height and width"),
        ({"size": {"shortest_edge": 1.5}}, r"\[size\]: key '0' is 1.5"),
    ],
)
def test_what_cannot_be_done_exactly_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(**changes)
