"""Records of an official JSON or JSON-lines file.

File in, typed records out. Official files carry many more keys than are needed, so unknown ones are
passed over; whatever is wrong with a needed one ends as an ``AnnotationError`` that names file,
record, field, what was found and what was expected.
"""

import codecs
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import msgspec
import pydantic
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from cache_schema.errors import AnnotationError
from train.annotations.reading import line_error, read_lines, read_text, unreadable

__all__ = [
    "check_json",
    "check_json_lines",
    "json_record",
    "read_json",
    "read_json_lines",
    "read_json_object",
    "read_json_values",
]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def json_record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only record of a JSON object; other keys are passed over."""
    config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
    made: type[T] = dataclass(frozen=True, kw_only=True, slots=True, config=config)(cls)  # type: ignore[assignment]
    return made


def read_json(path: Path, cls: type[T]) -> T:
    """Return a JSON file as a record, or as any type pydantic knows, such as ``dict[str, Clip]``.

    Raises:
        AnnotationError: The file is missing or cut short, or a needed field is missing or wrong.
    """
    made, wrong = check_json(path, cls)
    if made is None:
        raise AnnotationError(wrong[0])
    return made


def check_json(path: Path, cls: type[T]) -> tuple[T | None, list[str]]:
    """Return the same, or None and a sentence for everything that is wrong.

    Raises:
        AnnotationError: The file is missing.
    """
    try:
        made: T = _adapter(cls).validate_json(read_text(path))  # type: ignore[arg-type]
        return made, []
    except pydantic.ValidationError as problem:
        return None, [f"{path}: {sentence}" for sentence in _sentences(problem)]


def read_json_lines(path: Path, cls: type[T]) -> list[T]:
    """Return the records of a file with one JSON object per line.

    Raises:
        AnnotationError: As ``read_json``; it names the line. A blank line is one, too.
    """
    records: list[T] = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            records.append(_adapter(cls).validate_json(line))  # type: ignore[arg-type]
        except pydantic.ValidationError as problem:
            raise line_error(path, number, _sentences(problem)[0]) from problem
    return records


def check_json_lines(path: Path, cls: type[T]) -> tuple[dict[int, T], list[str]]:
    """Return the records of the right lines by number, and a sentence for all that is wrong.

    Raises:
        AnnotationError: The file is missing or empty, or has a blank line.
    """
    records: dict[int, T] = {}
    wrong: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            records[number] = _adapter(cls).validate_json(line)  # type: ignore[arg-type]
        except pydantic.ValidationError as problem:
            sentences = _sentences(problem)
            wrong += [str(line_error(path, number, sentence)) for sentence in sentences]
    return records, wrong


def read_json_object(path: Path) -> dict[str, Any]:
    """Return a JSON file whose values the caller checks itself, such as a large submission.

    Raises:
        AnnotationError: The file is missing, cut short, empty or holds no JSON object.
    """
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise AnnotationError(f"{path}: not valid JSON: {error}. Is it cut short?") from error
    if not isinstance(value, dict):
        raise AnnotationError(f"{path}: got {type(value).__name__}, expected a JSON object.")
    return value


def read_json_values(path: Path, cls: type[T], *, below: str) -> Iterator[tuple[str, T]]:
    """Yield key and record of every value of a JSON object, one after the other.

    For files of millions of entries: ten times as fast as ``read_json``, which only says what is
    wrong with them, and one value at a time is made of records.

    Args:
        path: The file.
        cls: Record of a value. Constraints that only pydantic knows do not hold.
        below: Key below which the object lies, if the file has it at its top.

    Raises:
        AnnotationError: As ``read_json``.
    """
    decoder = msgspec.json.Decoder(cls)
    for key, value in _raw_values(path, below).items():
        try:
            yield key, decoder.decode(value)
        except msgspec.MsgspecError as error:
            raise AnnotationError(f"{path}: {_explained(cls, key, value, error)}") from error


def _raw_values(path: Path, below: str) -> dict[str, msgspec.Raw]:
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    try:
        values = decode(path.read_bytes().removeprefix(codecs.BOM_UTF8))
        return decode(values[below]) if below in values else values
    except OSError as error:
        raise unreadable(path, error) from error
    except msgspec.MsgspecError as error:
        read_json_object(path)  # it says more
        raise AnnotationError(f"{path}: {error}.") from error


def _explained(cls: type[T], key: str, value: msgspec.Raw, error: Exception) -> str:
    """Tell what is wrong with a value, as ``read_json`` does."""
    try:
        _adapter(cls).validate_json(bytes(value))  # type: ignore[arg-type]
    except pydantic.ValidationError as problem:
        return _sentence(problem.errors()[0], key)
    return f"record {key}: {error}."


@cache
def _adapter(cls: type[object]) -> TypeAdapter[Any]:
    return TypeAdapter(cls, config=None if hasattr(cls, "__pydantic_config__") else _STRICT)


_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def _sentences(problem: pydantic.ValidationError) -> list[str]:
    """Tell each problem: where, what was found, what is wrong with it."""
    return [_sentence(item) for item in problem.errors()]


def _sentence(item: ErrorDetails, *within: str) -> str:
    if item["type"] == "json_invalid":
        return f"{item['msg']}. Is the file cut short?"
    *parents, field = [*within, *map(str, item["loc"])] or ["whole file"]
    where = f"record {'.'.join(parents)}, " if parents else ""
    if item["type"] in {"missing", "missing_argument"}:
        return f"{where}field '{field}' is missing."
    shown = repr(item["input"])
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"{where}field '{field}' is {shown}: {item['msg']}."
