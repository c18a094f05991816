"""Where the encoder of others' rows is looked for: the rule, without loading any."""

import pytest

from cache_schema.errors import ConfigError
from cache_schema.recipe import EncoderRecipe
from extract.encode.encoders.whereabouts import found_encoder


def made_with(encoder_id):
    sha256 = "0123456789abcdef" * 4
    return EncoderRecipe(
        id=encoder_id, weights_sha256=sha256, compute_dtype="float32", pooling="default"
    )


def found(encoder_id, *, given=None, source=""):
    with found_encoder(made_with(encoder_id), given, source) as name:
        return name


def test_given_goes_before_the_source_and_the_source_before_the_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there" / "clip").mkdir(parents=True)
    (tmp_path / "clip").mkdir()
    source = str(tmp_path / "there" / "clip")
    assert found("clip", given="nowhere", source=source) == "nowhere"
    assert found("clip", source=source) == source
    (tmp_path / "there").rename(tmp_path / "gone")
    assert found("clip", source=source) == "clip"


@pytest.mark.parametrize(
    ("encoder_id", "name"),
    [("fake", "fake"), ("owner/clip", "owner/clip"), ("mine.py:A@sha256:" + 64 * "0", "mine.py:A")],
)
def test_without_a_source_the_id_is_the_name(tmp_path, monkeypatch, encoder_id, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    assert found(encoder_id) == name


@pytest.mark.parametrize(
    ("source", "came_from"),
    [
        ("/models/tiny-clip", "loaded from '/models/tiny-clip'"),
        ("/models/mine.py:A", "loaded from '/models/mine.py:A'"),
        ("", "loaded from nobody noted where"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(source, came_from):
    with pytest.raises(ConfigError) as caught:
        found("tiny-clip", source=source)
    assert str(caught.value) == (
        "The features were made with encoder 'tiny-clip' (SHA-256 of its weights 0123456789ab...), "
        f"{came_from}; it cannot be found here: say where it lies now with --encoder."
    )


def test_what_cannot_be_loaded_says_it_too_unless_it_was_given():
    expected = r"no such hub\. The features .* with encoder 'a/b' .* say where with --encoder\.$"
    with pytest.raises(ConfigError, match=expected), found_encoder(made_with("a/b"), None, "a/b"):
        raise ConfigError("no such hub.")
    with pytest.raises(ConfigError, match=r"^bad\.$"), found_encoder(made_with("a/b"), "x", "a/b"):
        raise ConfigError("bad.")
