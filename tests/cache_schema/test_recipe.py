import hashlib
import json
from dataclasses import replace
from fractions import Fraction

import pytest

from cache_schema.parsing import differences, parse, to_json
from cache_schema.recipe import (
    DecoderRecipe,
    EncoderRecipe,
    PreprocessRecipe,
    Recipe,
    SamplingRecipe,
)

RECIPE = Recipe(
    origin="extracted",
    encoder=EncoderRecipe(
        id="vit", weights_sha256="0" * 64, compute_dtype="float32", pooling="cls"
    ),
    sampling=SamplingRecipe(fps=Fraction(30000, 1001), frames_per_window=1, stride_frames=1),
    preprocess=PreprocessRecipe(
        resize="shortest_edge",
        size=(224, 224),
        crop=(224, 224),
        interpolation="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    decoder=DecoderRecipe(backend="pyav", version="pyav 18"),
    store_dtype="float16",
)


def test_the_fingerprint_is_the_sha256_of_sorted_compact_json():
    document = json.loads(to_json(RECIPE))
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert RECIPE.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert document["sampling"]["fps"] == "30000/1001"


def test_the_fingerprint_of_a_known_recipe_never_changes():
    # A change here makes every store in the world unreadable as what it was: raise the schema
    # version instead.
    assert RECIPE.fingerprint[:16] == "95223e3e5e6f3d50"


def test_what_torch_ran_is_written_as_before_there_was_a_choice():
    assert "runtime" not in json.loads(to_json(RECIPE))["encoder"]


def test_another_runtime_is_written_and_read_and_is_another_recipe():
    other = replace(RECIPE, encoder=replace(RECIPE.encoder, runtime="openvino"))
    assert json.loads(to_json(other))["encoder"]["runtime"] == "openvino"
    assert parse(Recipe, to_json(other), where="x") == other
    assert other.fingerprint != RECIPE.fingerprint
    assert differences(RECIPE, other) == ["encoder.runtime = torch, not openvino"]


def test_a_recipe_survives_its_json():
    assert parse(Recipe, to_json(RECIPE), where="x") == RECIPE


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"store_dtype": "float32"}, "store_dtype = float16, not float32"),
        ({"decoder": None}, "decoder.backend = pyav, not None"),
        (
            {"sampling": replace(RECIPE.sampling, fps=None)},
            "sampling.fps = 30000/1001, not None",
        ),
        (
            {"encoder": replace(RECIPE.encoder, pooling="mean")},
            "encoder.pooling = cls, not mean",
        ),
    ],
)
def test_a_difference_is_named_and_changes_the_fingerprint(change, line):
    other = replace(RECIPE, **change)
    assert line in differences(RECIPE, other)
    assert other.fingerprint != RECIPE.fingerprint


def test_equal_recipes_have_no_differences():
    assert differences(RECIPE, replace(RECIPE)) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frames_per_window": 0}, "frames_per_window is 0, must be at least 1"),
        ({"stride_frames": -1}, "stride_frames is -1, must be at least 1"),
        ({"fps": Fraction(0)}, "fps is 0, must be positive"),
    ],
)
def test_a_sampling_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        SamplingRecipe(**{"fps": None, "frames_per_window": 1, "stride_frames": 1, **fields})
