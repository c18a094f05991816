"""A recipe read backwards: settings that make its rows again, and whether they did."""

import shutil
from dataclasses import replace
from fractions import Fraction

import pytest

from cache_schema.errors import RecipeMismatchError
from cache_schema.store import create_store, open_store
from extract.config import ExtractConfig
from extract.plan.targets import build_targets, check_recipe, config_of, make_streams
from tests.extract.tiny_models import write_model

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
    (again,) = build_targets(replace(config_of(made, "fake"), device="cpu"), None)
    assert again.recipe == made
    check_recipe(made, again.recipe)


def test_the_encoder_may_lie_elsewhere():
    assert config_of(recipe(), "models/mine").encoders == ("models/mine",)


def sources(path, config):
    targets = build_targets(config, None)
    with create_store(path) as writer:
        make_streams(targets, writer, path)
    return {stream.name: stream.encoder_source for stream in open_store(path).streams.values()}


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_stream_says_by_which_name_its_encoder_was_loaded(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path, "clip")
    encoders = ("fake", "./tiny-clip")
    config = ExtractConfig(encoders=encoders, device="cpu", compute_dtype="float32")
    path = tmp_path / f"s{suffix}"
    expected = {"fake": "fake", "tiny-clip": f"{tmp_path}/tiny-clip"}
    assert sources(path, config) == expected
    shutil.copytree(tmp_path / "tiny-clip", tmp_path / "new" / "tiny-clip")
    again = replace(config, encoders=("new/tiny-clip", "fake"))
    assert sources(path, again) == expected  # a stream that is there is not written again


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
