"""A recipe read backwards: settings that make its rows again, and whether they did."""

from dataclasses import replace
from fractions import Fraction

import pytest

from cache_schema.errors import RecipeMismatchError
from extract.config import ExtractConfig
from extract.plan.targets import build_targets, check_recipe, config_of

CPU = {"encoders": ("fake",), "device": "cpu"}


def recipe(**settings):
    (target,) = build_targets(ExtractConfig(**{**CPU, **settings}), None)
    return target.recipe


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"fps": Fraction(30000, 1001), "stride_frames": 3},
        {"fps": Fraction(0)},
        {"pooling": "grid", "store_dtype": "float32"},
        {"store_dtype": "bfloat16", "decoder": "pyav"},
    ],
)
def test_settings_of_a_recipe_make_that_recipe(settings):
    made = recipe(**settings)
    (again,) = build_targets(replace(config_of(made), device="cpu"), None)
    assert again.recipe == made
    check_recipe(made, again.recipe)


def test_the_encoder_may_lie_elsewhere():
    assert config_of(recipe(), "models/mine").encoders == ("models/mine",)
    made = recipe()
    theirs = replace(made, encoder=replace(made.encoder, id="mine@my-encoders==1.0"))
    assert config_of(theirs).encoders == ("mine",)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"store_dtype": "float32"}, "store_dtype = float32, not float16"),
        ({"fps": Fraction(3)}, r"sampling\.fps = 3, not 2"),
        ({"pooling": "grid"}, r"encoder\.pooling = grid, not mean"),
        ({"decoder": "pyav"}, r"decoder\.backend = pyav, not decord"),
    ],
)
def test_rows_of_other_settings_are_refused_by_field(lenient, changes, message):
    made = recipe()
    wanted = recipe(**{"decoder": "decord"} | changes)
    made = replace(made, decoder=replace(made.decoder, backend="decord"))
    with pytest.raises(RecipeMismatchError, match=f"cannot be made again here: .*{message}"):
        check_recipe(wanted, made, any_decoder_version=lenient)


def test_only_the_decoder_s_version_may_differ_and_only_where_that_is_said():
    made = recipe()
    older = replace(made, decoder=replace(made.decoder, version="older"))
    check_recipe(older, made, any_decoder_version=True)
    with pytest.raises(RecipeMismatchError, match=r"decoder\.version = older, not "):
        check_recipe(older, made)
