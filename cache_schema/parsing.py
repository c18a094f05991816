"""The one door through which untyped JSON and TOML become typed records, and back.

``@record`` makes a frozen pydantic dataclass that refuses unknown keys and wrong types;
``parse`` turns a mapping into one and reports every problem at once, naming the nearest key.
"""

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, dataclass_transform

import pydantic
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from cache_schema.errors import ConfigError, PipelineError

__all__ = [
    "EVERY_FIELD",
    "differences",
    "flattened",
    "nearest",
    "parse",
    "record",
    "to_json",
    "to_mapping",
]

T = TypeVar("T")

EVERY_FIELD = {"every_field": True}
"""Context in which a record's serializer leaves nothing out."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only dataclass whose fields are type-checked."""
    config = ConfigDict(extra="forbid", strict=True)
    made: type[T] = dataclass(frozen=True, kw_only=True, slots=True, config=config)(cls)  # type: ignore[assignment]
    return made


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint for a misspelt name: the nearest known one, or all of them.

    Examples:
        >>> nearest("poling", ["pooling", "dtype"])
        "Did you mean 'pooling'?"
        >>> nearest("x", ["pooling", "dtype"])
        'Known: dtype, pooling.'
    """
    matches = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{matches[0]}'?" if matches else f"Known: {', '.join(sorted(known))}."


@cache
def _adapter(cls: type[object]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def parse(
    cls: type[T],
    data: Mapping[str, Any] | str | bytes,
    *,
    where: str,
    error: type[PipelineError] = ConfigError,
) -> T:
    """Turn a mapping (or JSON text) into a record.

    Args:
        cls: A class made by ``record``.
        data: Parsed TOML or JSON, or JSON text.
        where: File and table, for the message.
        error: Class of the error to raise.

    Raises:
        PipelineError: ``error``, with one sentence per problem.
    """
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    try:
        made: T = _adapter(cls).validate_json(text)  # type: ignore[arg-type]  # mypy: type is hashable
        return made
    except pydantic.ValidationError as problem:
        lines = [_sentence(cls, item, where) for item in problem.errors()]
        raise error("\n".join(lines)) from problem


def to_mapping(value: object) -> dict[str, Any]:
    """Return a record as plain JSON values (fractions as text such as ``30000/1001``)."""
    result: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")  # type: ignore[arg-type]
    return result


def to_json(value: object) -> str:
    """Return a record or mapping as canonical JSON: sorted keys, no spaces, shortest floats."""
    plain = to_mapping(value) if is_dataclass(value) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def differences(saved: object, given: object, *, ignore: Collection[str] = ()) -> list[str]:
    """Name every field in which two records differ, as ``table.key = saved, not given``.

    Args:
        saved: A record.
        given: Another one of its class.
        ignore: Dotted keys that may differ.
    """
    left, right = (flattened(_every_field(one)) for one in (saved, given))
    return [
        f"{key} = {left.get(key)}, not {right.get(key)}"
        for key in sorted(left.keys() | right.keys())
        if key not in ignore and left.get(key) != right.get(key)
    ]


def _every_field(value: object) -> dict[str, Any]:
    """Return ``to_mapping`` with the fields, too, that a record leaves out of its JSON."""
    adapter = _adapter(type(value))  # type: ignore[arg-type]  # mypy: type is hashable
    result: dict[str, Any] = adapter.dump_python(value, mode="json", context=EVERY_FIELD)
    return result


def flattened(mapping: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as one, by dotted key; an empty one has none.

    >>> flattened({"optim": {"lr": 0.1}, "seed": 3})
    {'optim.lr': 0.1, 'seed': 3}
    """
    flat: dict[str, object] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _sentence(cls: type[Any], item: Mapping[str, Any], where: str) -> str:
    *parents, key = [str(part) for part in item["loc"]] or [""]
    table = f"{where}{''.join(f' [{parent}]' for parent in parents)}"
    if item["type"] == "unexpected_keyword_argument":
        known = _known_keys(cls, parents)
        hint = nearest(key, known) if known else "Leave it out."
        return f"{table}: unknown key '{key}'. {hint}"
    if item["type"] in {"missing", "missing_argument"}:
        return f"{table}: key '{key}' is missing."
    said = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error" and isinstance(item["input"], Mapping):
        return f"{table}{f' [{key}]' if key else ''}: {said}."  # its keys do not go together
    return f"{table}: key '{key}' is {item['input']!r}. {said}."


def _known_keys(cls: type[Any], parents: Sequence[str]) -> list[str]:
    for parent in parents:
        owner = {field.name: field.type for field in fields(cls)}.get(parent)
        if not (isinstance(owner, type) and is_dataclass(owner)):
            return []
        cls = owner
    return [field.name for field in fields(cls)]
