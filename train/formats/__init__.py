"""The formats of answers by name; asking for one imports that one only."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help names the formats and reads nothing else.
    from train.formats.writer import AnswerWriter

__all__ = ["FORMATS", "format_of", "open_format"]

FORMATS = {
    "jsonl": "train.formats.json_lines:JsonLinesWriter",
    "csv": "train.formats.table:TableWriter",
    "vtt": "train.formats.webvtt:SubtitleWriter",
    "eaf": "train.formats.elan:ElanWriter",
}
"""Format name -> module and class. The first is the one that holds everything."""


FOLDERS = ("vtt", "eaf")
"""Formats with one file per video. The files of every format are named as it is."""


def open_format(name: str | None, out: Path) -> "AnswerWriter":
    """Return a writer of answers, to be closed or used in a ``with`` block.

    Args:
        name: Key of ``FORMATS``; None takes what the suffix of ``out`` says.
        out: A file, or ``-`` for standard output; for formats with one file per video a folder.

    Raises:
        ConfigError: See ``format_of``; or the format needs a package that is not here, or ``out``
            cannot be what it needs.
    """
    module_name, _, class_name = FORMATS[format_of(name, out)].partition(":")
    writer: AnswerWriter = getattr(import_module(module_name), class_name)(out)
    return writer


def format_of(name: str | None, out: Path) -> str:
    """Return the format that answers are to be written in: the named one, else by the suffix.

    Args:
        name: Key of ``FORMATS``, or None.
        out: Where they go; without a suffix, as of ``-``, they are JSON lines.

    Raises:
        ConfigError: The format is unknown, or ``out`` is named like something else.
    """
    from cache_schema.errors import ConfigError
    from cache_schema.parsing import nearest

    suffix = out.suffix.lower().removeprefix(".")
    chosen = name or suffix or next(iter(FORMATS))
    if name is not None and name not in FORMATS:
        raise ConfigError(f"Unknown format '{name}'. {nearest(name, list(FORMATS))}")
    if chosen not in FORMATS:
        raise ConfigError(
            f"--out {out}: '.{suffix}' is no format of answers. Name it .jsonl, or .csv, which "
            "spreadsheets open; or choose with --format: jsonl, csv, vtt or eaf."
        )
    if chosen in FOLDERS and out.is_dir():
        return chosen
    if suffix in FORMATS and suffix != chosen:
        raise ConfigError(
            f"--out {out}: is named like {suffix}, and --format says {chosen}. Leave --format out, "
            "or choose another name."
        )
    if suffix in FOLDERS:
        raise ConfigError(
            f"--out {out}: .{suffix} files are one per video and need a folder. Name one: "
            f"--format {suffix} --out {out.with_suffix('')}."
        )
    return chosen
