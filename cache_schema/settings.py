"""Settings of one command: defaults < pipeline.toml < ``--set table.key=value`` < flags.

A stage owns one top-level table of pipeline.toml and describes it with nested records; this
module merges the sources and parses the result strictly. It knows nothing of either stage.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, TypeVar

from cache_schema.errors import ConfigError
from cache_schema.parsing import nearest, parse

__all__ = ["CONFIG_NAME", "TABLES", "load_settings", "parse_value"]

CONFIG_NAME = "pipeline.toml"
TABLES = ("extract", "cluster", "train")
"""The top-level tables; each belongs to one stage."""

T = TypeVar("T")


def load_settings(
    cls: type[T],
    table: str,
    *,
    config_path: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
) -> T:
    """Return the settings of one stage.

    Args:
        cls: Record that describes the table.
        table: One of ``TABLES``.
        config_path: The file to read; None reads ``pipeline.toml`` of the current folder if there
            is one.
        overrides: ``table.key=value`` with a TOML value; bare words count as text.
        flags: Dotted key inside the table -> value given by a flag; None values are left out.

    Raises:
        ConfigError: naming every unknown key (with the nearest known one) and wrong value.
    """
    values = _read_table(config_path, table)
    for override in overrides:
        owner, dotted, value = _parse_override(override)
        if owner == table:
            _put(values, dotted, value)
    for dotted, value in (flags or {}).items():
        if value is not None:
            _put(values, dotted, value)
    return parse(cls, json.dumps(values, default=_as_text), where=f"settings [{table}]")


def _as_text(value: date | time) -> str:
    """Return a date or time of TOML as it was written: no setting is one, but limits look so."""
    return value.isoformat()


def _read_table(config_path: Path | None, table: str) -> dict[str, Any]:
    path = config_path or Path(CONFIG_NAME)
    if config_path is None and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check --config.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error.reason}). Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    for name in document:
        if name not in TABLES:
            raise ConfigError(f"{path}: unknown table [{name}]. {nearest(name, TABLES)}")
    values = document.get(table, {})
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: '{table}' is a table: write [{table}], and its keys below it.")
    return values


def _parse_override(override: str) -> tuple[str, str, object]:
    key, equals, text = override.partition("=")
    owner, dot, dotted = key.strip().partition(".")
    if not equals or not dot or owner not in TABLES:
        raise ConfigError(
            f"--set {override}: expected table.key=value with a table of {', '.join(TABLES)}, "
            "for example --set extract.fps=4."
        )
    return owner, dotted, parse_value(text)


def parse_value(text: str) -> object:
    """Return the TOML value a flag's text means; what is none is the text itself.

    TOML's dates and times are text here, too.

    Examples:
        >>> [parse_value(text) for text in ("0.5", "[1, 2]", "argmax", "08:00:00")]
        [0.5, [1, 2], 'argmax', '08:00:00']
    """
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    return text.strip() if isinstance(value, date | time) else value


def _put(values: dict[str, Any], dotted: str, value: object) -> None:
    *tables, key = dotted.split(".")
    for name in tables:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set ...{dotted}: '{name}' is a value, not a table of keys.")
        values = inner
    values[key] = value
