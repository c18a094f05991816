"""Lines and csv records of an annotation file, and the checks that several readers make.

File in, text lines or ``CsvRow`` out. Whatever is wrong with a file ends here as an
``AnnotationError`` that names file, line, field, what was found and what was expected.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache_schema.errors import AnnotationError
from cache_schema.parsing import nearest

__all__ = [
    "ALL_SUBSETS",
    "OWN_FORMS",
    "CsvRow",
    "check_folder",
    "check_ids",
    "check_subset",
    "line_error",
    "no_file_beside",
    "read_csv",
    "read_lines",
    "read_text",
    "unreadable",
    "violations",
]

SUBSETS = ("train", "val")
ALL_SUBSETS = (*SUBSETS, "test")
"""Of official files that come with a subset without labels."""
OWN_FORMS = (
    "Labels of your own are one .csv, .tsv or .jsonl file (docs/labels.md), official ones "
    "the folder of a release (docs/tasks.md)."
)
MOST_COMPARED = 1000
"""Ids that a misspelt one is compared with, and that a message may list."""


def check_folder(folder: Path) -> Path:
    """Return the folder, or say that there is none.

    Raises:
        AnnotationError: It does not exist or is a file.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise AnnotationError(
            f"{folder}: found {found}, expected a folder of annotation files. {OWN_FORMS}"
        )
    return folder


def no_file_beside(path: Path, missing: Path) -> AnnotationError:
    """Return an error about a single file that was taken for an official one among others."""
    return AnnotationError(
        f"{path}: taken for an official file, but {missing.name} is not beside it. {OWN_FORMS}"
    )


def check_subset(subset: str, known: Sequence[str] = SUBSETS) -> str:
    """Return the subset's name, or say which there are.

    Raises:
        AnnotationError: It is none of those known.
    """
    if subset not in known:
        raise AnnotationError(f"Unknown subset '{subset}'. {nearest(subset, known)}")
    return subset


def violations(checks: Iterable[Callable[[], object]]) -> Iterator[str]:
    """Make every check, and yield what each that fails has to say.

    Args:
        checks: What raises an ``AnnotationError`` where something is wrong.
    """
    for check in checks:
        try:
            check()
        except AnnotationError as wrong:
            yield str(wrong)


def check_ids(
    path: Path, kind: str, found: Collection[str], expected: Sequence[str], *, known_as: str
) -> None:
    """Refuse a submission whose ids are not exactly the annotated ones.

    Args:
        path: The submission.
        kind: What has an id, such as ``video``.
        found: Ids of the submission.
        expected: Annotated ids.
        known_as: What the message calls these, with what helps to write an id.

    Raises:
        AnnotationError: An id is unknown or missing.
    """
    found_ids = set(found)
    unknown = sorted(found_ids - set(expected))
    if unknown:
        raise AnnotationError(
            f"{path}: {kind} '{unknown[0]}' is not among the {len(expected)} {known_as}. "
            f"{nearest(unknown[0], expected[:MOST_COMPARED])}"
        )
    missing = [one for one in expected if one not in found_ids]
    if missing:
        raise AnnotationError(
            f"{path}: {len(missing)} of {len(expected)} {kind}s have no prediction, the first is "
            f"'{missing[0]}'."
        )


def line_error(path: Path, number: int, message: str) -> AnnotationError:
    """Return an error that starts with the file and the line, counted from 1."""
    return AnnotationError(f"{path}, line {number}: {message}")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, stripped; blank lines at its end do not count.

    Raises:
        AnnotationError: The file is missing, is not UTF-8, is empty or has a blank line inside.
    """
    lines = [line.strip() for line in read_text(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise AnnotationError(f"{path}: the file is empty, expected at least one line.")
    if "" in lines:
        message = "the line is blank, expected text. Remove it."
        raise line_error(path, lines.index("") + 1, message)
    return lines


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvRow:
    """One record of a csv file."""

    path: Path
    line: int
    """Its last line, counted from 1; quoted text may span several."""
    values: dict[str, str]

    def text(self, field: str) -> str:
        """Return a field that must not be empty."""
        value = self.values[field].strip()
        if not value:
            raise self.error(field, value, "some text")
        return value

    def integer(self, field: str) -> int:
        """Return a field that must be a whole number of at least 0."""
        value = self.values[field].strip()
        if not (value.isascii() and value.isdigit()):
            raise self.error(field, value, "a whole number of at least 0")
        return int(value)

    def error(self, field: str, got: object, expected: str) -> AnnotationError:
        """Return an error that names file, line, field, what was found and what was expected."""
        return AnnotationError(
            f"{self.path}, line {self.line}: field '{field}' is {got!r}, expected {expected}."
        )


def read_csv(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[CsvRow]:
    """Return the records of a csv file with a header; other columns are left out.

    Args:
        path: The file.
        columns: That it must have.
        optional: That records have where the file has them.

    Raises:
        AnnotationError: The file is missing, is not UTF-8, lacks a column or a record is cut short.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise AnnotationError(
                f"{path}, line 1: column '{missing[0]}' is missing, "
                f"expected the columns {', '.join(columns)}."
            )
        present = [name for name in optional if name in (reader.fieldnames or ())]
        return list(_rows(path, reader, [*columns, *present]))
    except csv.Error as error:
        where = f"{path}, after line {reader.line_num}"
        raise AnnotationError(f"{where}: not valid csv: {error}.") from error


def _rows(path: Path, reader: "csv.DictReader[str]", columns: Sequence[str]) -> Iterator[CsvRow]:
    for record in reader:
        values = {name: record[name] for name in columns}
        row = CsvRow(path=path, line=reader.line_num, values=values)
        for name, value in values.items():
            if value is None:
                raise row.error(name, None, "a value: the record is cut short")
        yield row


def read_text(path: Path) -> str:
    """Return a file's text; a byte-order mark and foreign line ends go away here.

    Raises:
        AnnotationError: The file is missing or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise AnnotationError(
            f"{path}: byte {error.start} is not UTF-8 (line {line}). Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> AnnotationError:
    """Return an error that says why the system does not give a file."""
    return AnnotationError(f"{path}: cannot be read ({error.strerror}).")
