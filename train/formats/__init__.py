"""The formats of answers by name; asking for one imports that one only."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help names the formats and reads nothing else.
    from train.formats.writer import AnswerWriter

__all__ = ["FORMATS", "open_format"]

FORMATS = {
    "jsonl": "train.formats.json_lines:JsonLinesWriter",
    "csv": "train.formats.table:TableWriter",
    "vtt": "train.formats.webvtt:SubtitleWriter",
    "eaf": "train.formats.elan:ElanWriter",
}
"""Format name -> module and class. The first is the one that holds everything."""


def open_format(name: str, out: Path) -> "AnswerWriter":
    """Return a writer of answers, to be closed or used in a ``with`` block.

    Args:
        name: Key of ``FORMATS``.
        out: A file, or ``-`` for standard output; for formats with one file per video a folder.

    Raises:
        ConfigError: The format is unknown, needs a package that is not here, or ``out`` cannot be
            what the format needs.
    """
    from cache_schema.errors import ConfigError
    from cache_schema.parsing import nearest

    if name not in FORMATS:
        raise ConfigError(f"Unknown format '{name}'. {nearest(name, list(FORMATS))}")
    module_name, _, class_name = FORMATS[name].partition(":")
    writer: AnswerWriter = getattr(import_module(module_name), class_name)(out)
    return writer
