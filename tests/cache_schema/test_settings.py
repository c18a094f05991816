from fractions import Fraction

import pytest

from cache_schema.errors import ConfigError
from cache_schema.parsing import record
from cache_schema.settings import load_settings, parse_value


@record
class Optimizer:
    """A nested table."""

    rate: float = 0.1


@record
class Train:
    """The [train] table."""

    task: str = "none"
    epochs: int = 1
    fps: Fraction = Fraction(2)
    optimizer: Optimizer = Optimizer()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(**keywords):
    return load_settings(Train, "train", **keywords)


def test_flags_win_over_set_over_the_file_over_defaults(folder):
    (folder / "pipeline.toml").write_text('[train]\ntask = "file"\nepochs = 5\n')
    overrides = ["train.epochs=6", "train.fps=30000/1001", "extract.fps=9"]
    assert load().epochs == 5
    settings = load(overrides=overrides, flags={"epochs": 7, "task": None})
    assert settings == Train(task="file", epochs=7, fps=Fraction(30000, 1001))


def test_nested_keys_are_set_by_dotted_names(folder):
    (folder / "pipeline.toml").write_text("[train.optimizer]\nrate = 0.2\n")
    assert load().optimizer.rate == 0.2
    assert load(overrides=["train.optimizer.rate=0.3"]).optimizer.rate == 0.3
    assert load(flags={"optimizer.rate": 0.4}).optimizer.rate == 0.4


def test_without_a_file_the_defaults_hold(folder):
    assert load() == Train()


def test_bare_words_count_as_text(folder):
    assert load(overrides=["train.task=moment_query"]).task == "moment_query"


def test_an_unknown_key_is_named_with_the_nearest(folder):
    with pytest.raises(ConfigError, match=r"unknown key 'epoch'\. Did you mean 'epochs'\?"):
        load(overrides=["train.epoch=3"])


def test_an_unknown_table_is_named_with_the_nearest(folder):
    (folder / "pipeline.toml").write_text("[tran]\n")
    with pytest.raises(ConfigError, match=r"unknown table \[tran\]\. Did you mean 'train'\?"):
        load()


@pytest.mark.parametrize("override", ["epochs=3", "train.epochs", "tran.epochs=3"])
def test_an_override_of_another_form_is_refused(folder, override):
    with pytest.raises(ConfigError, match=r"expected table\.key=value"):
        load(overrides=[override])


def test_a_setting_below_a_value_is_refused(folder):
    (folder / "pipeline.toml").write_text("train.optimizer = 3\n")
    with pytest.raises(ConfigError, match="'optimizer' is a value, not a table"):
        load(overrides=["train.optimizer.rate=0.5"])


def test_dates_and_times_of_a_file_are_the_text_they_were(folder):
    (folder / "pipeline.toml").write_text("train.task = 08:00:00\n")
    assert load().task == "08:00:00"
    (folder / "pipeline.toml").write_text("train.fps = 2024-01-01\n")
    with pytest.raises(ConfigError, match="fps"):
        load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[train", "not valid TOML"),
        (None, "cannot be"),
        ("# größer".encode("latin-1"), "not UTF-8"),
        (b"train = 3", "'train' is a table"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, text, message):
    path = folder / "other.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigError, match=rf"other\.toml: {message}"):
        load(config_path=path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("[1, 2]", [1, 2]),
        ("argmax", "argmax"),
        ("true", True),
        ("08:00:00", "08:00:00"),
    ],
)
def test_a_flags_text_is_a_toml_value_or_itself(text, value):
    assert parse_value(text) == value
