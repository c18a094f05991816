from fractions import Fraction

import pytest

from cache_schema.store import create_store, open_store, stream_names
from cache_schema.testing import make_recipe

TWO, FOUR = (make_recipe(fps=Fraction(fps)) for fps in (2, 4))


def next_name(recipe):
    return f"tiny-{recipe.fingerprint[:8]}"


def test_the_first_stream_has_the_encoders_name():
    assert stream_names(None, [TWO]) == ["tiny"]


def test_two_recipes_of_one_run_never_share_a_name():
    assert stream_names(None, [TWO, FOUR, TWO]) == ["tiny", next_name(FOUR), "tiny"]


def test_a_recipe_that_is_there_keeps_its_name_and_another_takes_the_next(tmp_path):
    writer = create_store(tmp_path / "f.zarr")
    writer.stream("tiny", FOUR, (4,))
    writer.close()
    store = open_store(tmp_path / "f.zarr")
    assert stream_names(store, [TWO, FOUR]) == [next_name(TWO), "tiny"]


@pytest.mark.parametrize(
    ("encoder_id", "name"),
    [("openai/clip-vit", "openai-clip-vit"), ("_model.v2_", "model.v2_"), ("modèle", "mod-le")],
)
def test_a_name_is_one_that_a_store_takes(tmp_path, encoder_id, name):
    recipe = make_recipe(encoder_id=encoder_id)
    assert stream_names(None, [recipe]) == [name]
    create_store(tmp_path / "f.zarr").stream(name, recipe, (4,))


def test_an_encoder_whose_name_has_no_letter_is_called_by_its_fingerprint(tmp_path):
    recipe = make_recipe(encoder_id="__")
    (name,) = stream_names(None, [recipe])
    assert name == f"stream-{recipe.fingerprint[:8]}"
    create_store(tmp_path / "f.zarr").stream(name, recipe, (4,))
