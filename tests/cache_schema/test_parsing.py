from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest

from cache_schema.errors import ConfigError, StoreCorruptError
from cache_schema.parsing import flattened, nearest, parse, record, to_json, to_mapping


@record
class Inner:
    """A table in a table."""

    size: tuple[int, int] = (1, 2)
    rate: Fraction | None = None

    def __post_init__(self) -> None:
        if self.size[0] > self.size[1]:
            raise ValueError("size falls")


@record
class Outer:
    """A table."""

    name: str
    count: int = 3
    inner: Inner = Inner()


def test_a_mapping_becomes_a_record_and_back():
    values = {"name": "x", "inner": {"size": [3, 4], "rate": "30000/1001"}}
    outer = parse(Outer, values, where="file")
    assert outer == Outer(name="x", inner=Inner(size=(3, 4), rate=Fraction(30000, 1001)))
    assert to_mapping(outer) == {"count": 3, **values}


def test_json_text_is_canonical():
    text = '{"count":3,"inner":{"rate":null,"size":[1,2]},"name":"ä"}'
    assert to_json(Outer(name="ä")) == text
    assert parse(Outer, text, where="file") == Outer(name="ä")
    assert to_json({"b": 1.0, "a": None}) == '{"a":null,"b":1.0}'


def test_every_problem_is_named_at_once():
    values = {"nam": "x", "count": "three", "inner": {"sise": 1}}
    with pytest.raises(ConfigError) as error:
        parse(Outer, values, where="pipeline.toml")
    lines = sorted(str(error.value).splitlines())
    assert lines[0].startswith("pipeline.toml [inner]: unknown key 'sise'. Did you mean 'size'?")
    assert lines[1].startswith("pipeline.toml: key 'count' is 'three'.")
    assert lines[2] == "pipeline.toml: key 'name' is missing."
    assert lines[3] == "pipeline.toml: unknown key 'nam'. Did you mean 'name'?"


@pytest.mark.parametrize(
    ("cls", "values", "sentence"),
    [
        (Outer, {"name": "x", "inner": {"size": [2, 1]}}, "file [inner]: size falls."),
        (Inner, {"size": [2, 1]}, "file: size falls."),
    ],
)
def test_what_does_not_go_together_is_said_without_the_values(cls, values, sentence):
    with pytest.raises(ConfigError) as error:
        parse(cls, values, where="file")
    assert str(error.value) == sentence


def test_the_error_class_is_the_callers():
    with pytest.raises(StoreCorruptError, match=r"part 7: key 'name' is missing"):
        parse(Outer, {}, where="part 7", error=StoreCorruptError)


def test_a_record_is_frozen_and_checked():
    with pytest.raises(FrozenInstanceError):
        Outer(name="x").count = 4
    with pytest.raises(ValueError, match="valid integer"):
        Outer(name="x", count="4")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("poling", "Did you mean 'pooling'?"), ("x", "Known: dtype, pooling.")],
)
def test_the_nearest_name_is_suggested(name, hint):
    assert nearest(name, ["pooling", "dtype"]) == hint


@record
class Nothing:
    pass


def test_a_key_where_none_is_known_is_to_be_left_out():
    with pytest.raises(ConfigError, match=r"^options: unknown key 'x'\. Leave it out\.$"):
        parse(Nothing, {"x": 1}, where="options")


def test_nested_mappings_become_dotted_keys():
    nested = {"optim": {"lr": 0.1, "more": {"a": None}}, "weights": {}, "task": ["x"]}
    assert flattened(nested) == {"optim.lr": 0.1, "optim.more.a": None, "task": ["x"]}
