from fractions import Fraction

import numpy as np
import pytest

from cache_schema.derived.find import chosen_stream, derive_like
from cache_schema.errors import ConfigError
from cache_schema.parsing import parse, to_json
from cache_schema.recipe import Recipe
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_store


@pytest.fixture
def store(tmp_path):
    with create_store(tmp_path / "f.zarr") as writer:
        for seed, name in enumerate(("one", "two")):
            stream = writer.stream(name, make_recipe(encoder_id=name), (4,))
            add_video(stream, "v", make_rows(6, seed=seed))
    return open_store(tmp_path / "f.zarr")


def test_one_name_or_none_is_the_stream_itself(store, tmp_path):
    assert chosen_stream(store, ["two"]) is store.streams["two"]
    only = make_store(tmp_path / "g.zarr", {"v": 3})
    assert chosen_stream(only) is only.stream()
    with pytest.raises(ConfigError, match="no --stream was given; it holds: one, two"):
        chosen_stream(store)


@pytest.mark.parametrize(
    ("names", "rate"),
    [
        (["one", "two"], None),
        (["two", "one"], Fraction(4)),
        (["one", "one:motion"], None),
        (["two:motion"], None),
        (["one"], Fraction(1)),
    ],
)
def test_a_recipe_finds_again_what_names_have_made(store, names, rate):
    stream = chosen_stream(store, names, rate)
    recipe = parse(Recipe, to_json(stream.recipe), where="checkpoint")
    by_fingerprint = {one.recipe.fingerprint: one for one in store.streams.values()}
    again = derive_like(recipe, lambda one: by_fingerprint[one.fingerprint])
    assert again.recipe == stream.recipe
    np.testing.assert_array_equal(again.read("v").values, stream.read("v").values)
    np.testing.assert_array_equal(again.times("v"), stream.times("v"))


def test_a_misspelt_name_is_named(store):
    with pytest.raises(ConfigError, match="no stream 'three'"):
        chosen_stream(store, ["one", "three:motion"])


def test_other_recipes_keep_their_fingerprints():
    # As it was before there were derived rows.
    assert "derivation" not in to_json(make_recipe())
    assert "parents" not in to_json(make_recipe())
