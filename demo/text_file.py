"""Write the text formats of annotation files, each whole or not at all.

Data in: rows, lines or JSON values. Data out: UTF-8 files with Unix line ends and a fixed byte
form.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file and its folder; the file appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one line per string."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a comma-separated table."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def write_json(path: Path, value: object) -> None:
    """Write one indented JSON document."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_json_lines(path: Path, values: Iterable[object]) -> None:
    """Write one JSON document per line."""
    write_lines(path, (json.dumps(value) for value in values))
