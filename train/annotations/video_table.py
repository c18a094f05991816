"""Our own format as a table: one record per segment, as every spreadsheet exports it.

    video,subset,start,end,label
    kitchen/0007,train,1.0,3.2,stir
    kitchen/0008,val,,,

A segment is an action (``label``, or ``verb`` and ``noun``) and a moment of the same name, the
answer to a ``query``, or both. A record of a video alone says that there is nothing in it. The
header tells what separates columns. File in, a ``VideoLine`` of each video out.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from cache_schema.errors import AnnotationError
from cache_schema.parsing import parse
from train.annotations.reading import CsvRow, line_error, read_text
from train.annotations.video_lines import ActionLine, MomentLine, QueryLine, VideoLine

__all__ = ["read_video_table"]

NEEDED = ("video", "subset", "start", "end")
ACTION_COLUMNS = ("label", "verb", "noun")
QUERY_COLUMN = "query"
TIMES = ("start", "end", "duration")
"""Seconds."""
COLUMNS = (*NEEDED, *ACTION_COLUMNS, QUERY_COLUMN, "duration")
DELIMITERS = ",;\t"

T = TypeVar("T")


def read_video_table(path: Path) -> list[VideoLine]:
    """Return the videos in the order in which the file first names them.

    Raises:
        AnnotationError: naming file, line and field.
    """
    columns, rows = _read(path)
    videos: dict[str, list[CsvRow]] = {}
    for row in rows:
        videos.setdefault(row.text("video"), []).append(row)
    if not videos:
        raise AnnotationError(f"{path}: the file holds no record, expected one per segment.")
    return [_video(columns, own) for own in videos.values()]


# --- header and records -------------------------------------------------------------------------


def _read(path: Path) -> tuple[list[str], list[CsvRow]]:
    """Return the columns and the records that are not blank."""
    text = read_text(path)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        _check_columns(path, columns)
        records = [(reader.line_num, [one.strip() for one in record]) for record in reader]
    except csv.Error as error:
        where = f"{path}, after line {reader.line_num}"
        raise AnnotationError(f"{where}: not valid csv: {error}.") from error
    # Spreadsheets write blank records behind the last one.
    return columns, [
        _row(path, line, columns, record, delimiter) for line, record in records if any(record)
    ]


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    """Refuse what is not read, so that a misspelt column is not passed over."""
    where = f"{path}, line 1"
    if unknown := [name for name in columns if name not in COLUMNS]:
        named = ", ".join(map(_with_nearest, unknown))
        raise AnnotationError(
            f"{where}: nothing is known of the column {named}. Known: {', '.join(COLUMNS)}. Rename "
            "or remove others (docs/labels.md). Official csv files are given as their folder."
        )
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise AnnotationError(f"{where}: column '{twice[0]}' is there twice. Remove one.")
    if missing := [name for name in NEEDED if name not in columns]:
        raise AnnotationError(
            f"{where}: column '{missing[0]}' is missing, expected {', '.join(NEEDED)} and what is "
            "to be seen. 'subset' is 'train' or 'val' in all records of a video; about one video "
            "of five is usually kept for val."
        )
    if not {"label", "verb", QUERY_COLUMN} & set(columns):
        raise AnnotationError(
            f"{where}: no column says what is to be seen, expected 'label', 'verb' and perhaps "
            "'noun', or 'query'."
        )


def _with_nearest(name: str) -> str:
    nearest = get_close_matches(name, COLUMNS, n=1, cutoff=0.75)
    return f"'{name}' (did you mean '{nearest[0]}'?)" if nearest else f"'{name}'"


def _row(
    path: Path, line: int, columns: Sequence[str], record: Sequence[str], delimiter: str
) -> CsvRow:
    if len(record) != len(columns):
        hint = " Put a field with a comma in quotes." if delimiter == "," else ""
        message = f"the record has {len(record)} fields, the header {len(columns)}.{hint}"
        raise line_error(path, line, message)
    values = dict.fromkeys(COLUMNS, "") | dict(zip(columns, record, strict=True))
    values["subset"] = values["subset"].lower()
    if delimiter != ",":  # then a comma in a number can only be a decimal one
        values |= {name: values[name].replace(",", ".") for name in TIMES}
    return CsvRow(path=path, line=line, values=values)


# --- videos -------------------------------------------------------------------------------------


def _video(columns: Sequence[str], rows: Sequence[CsvRow]) -> VideoLine:
    """Return what the records of one video say."""
    subset, duration = _same(rows, "subset"), _same(rows, "duration")
    line = _record(
        rows[0],
        VideoLine,
        video=rows[0].values["video"],
        subset=subset,
        duration=_seconds(rows[0], "duration", duration) if duration else None,
    )
    segments = [row for row in rows if not _is_video_alone(row)]
    for row in segments:
        if not any(row.values[name] for name in (*ACTION_COLUMNS, QUERY_COLUMN)):
            raise row.error("label", "", "what is to be seen between start and end")
    if {"label", "verb"} & set(columns):
        actions = [_action(row) for row in segments if _names_action(row)]
        line = replace(line, actions=actions, moments=list(map(_moment, actions)))
    if QUERY_COLUMN in columns:
        line = replace(line, queries=[_query(row) for row in segments if row.values[QUERY_COLUMN]])
    return line


def _same(rows: Sequence[CsvRow], field: str) -> str:
    """Return what all records of a video that say it say."""
    said = [row for row in rows if row.values[field]]
    for row in said:
        first = said[0].values[field]
        if row.values[field] != first:
            expected = f"'{first}', as in line {said[0].line} of the same video"
            raise row.error(field, row.values[field], expected)
    return said[0].values[field] if said else ""


def _is_video_alone(row: CsvRow) -> bool:
    about_video = ("video", "subset", "duration")
    return not any(value for name, value in row.values.items() if name not in about_video)


def _names_action(row: CsvRow) -> bool:
    return any(row.values[name] for name in ACTION_COLUMNS)


def _action(row: CsvRow) -> ActionLine:
    said = {name: row.values[name] for name in ACTION_COLUMNS}
    return _record(row, ActionLine, **_span(row), **said)


def _moment(action: ActionLine) -> MomentLine:
    return MomentLine(start=action.start, end=action.end, label=action.name)


def _query(row: CsvRow) -> QueryLine:
    return _record(row, QueryLine, **_span(row), query=row.values[QUERY_COLUMN])


def _span(row: CsvRow) -> dict[str, float]:
    return {name: _seconds(row, name, row.values[name]) for name in ("start", "end")}


def _seconds(row: CsvRow, field: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise row.error(field, text, "seconds such as 62.5")
    return seconds


def _record(row: CsvRow, cls: type[T], **fields: object) -> T:
    return parse(cls, fields, where=f"{row.path}, line {row.line}", error=AnnotationError)
