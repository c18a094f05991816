"""``csv``: one table for everything that is said, for pandas and spreadsheets (RFC 4180)."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from train.answer import Answer, ClassScore, Future, QueryAnswer, Row
from train.formats.writer import StreamWriter

__all__ = ["COLUMNS", "TableWriter"]

COLUMNS = (
    "video",
    "task",
    "kind",
    "start",
    "end",
    "query",
    "text",
    "score",
    "rank",
    "step",
    "seconds_ahead",
)

Line = dict[str, Any]


class TableWriter(StreamWriter):
    """One line for each thing that is said; what a kind of thing lacks is empty."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._table = csv.DictWriter(SimpleNamespace(write=self._put), COLUMNS)
        self._table.writeheader()

    def write(self, answer: Answer) -> None:
        """Write the lines of one video."""
        head = {"video": answer.video, "task": answer.task}
        for line in _lines(answer):
            self._table.writerow({key: _cell(value) for key, value in (head | line).items()})


def _cell(value: object) -> object:
    """Keep a spreadsheet from running text as a formula, in a way that can be undone.

    One apostrophe before text that starts with one of the signs that make a formula, or with an
    apostrophe: whoever reads takes off the first character where it is one.

    >>> _cell("=1+1"), _cell("'tis"), _cell("a=b"), _cell(-1.0)
    ("'=1+1", "''tis", 'a=b', -1.0)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r'") else value


def _lines(answer: Answer) -> Iterator[Line]:
    # A video of which nothing is said must be seen, too.
    yield {"kind": "video", "start": 0.0, "end": answer.duration}
    for segment in answer.segments:
        yield _stretch(segment, "segment", text=segment.label, score=segment.score)
    for row in answer.rows:
        yield from _row_lines(row)
    for place, future in enumerate(answer.futures, 1):
        yield from _future_lines(place, future)
    for caption in answer.captions:
        yield _stretch(caption, "caption", text=caption.text)
    for query in answer.queries:
        yield from _query_lines(query)


def _stretch(timed: Any, kind: str, **more: object) -> Line:  # noqa: ANN401 - all with start and end
    return {"kind": kind, "start": timed.start, "end": timed.end, **more}


def _row_lines(row: Row) -> Iterator[Line]:
    yield from _class_lines(row, "now", row.now)
    yield from _class_lines(row, "next", row.next)
    for forecast in row.ahead:
        yield from _class_lines(row, "ahead", forecast.classes, seconds_ahead=forecast.seconds)


def _class_lines(
    row: Row, kind: str, classes: Sequence[ClassScore], **more: object
) -> Iterator[Line]:
    for rank, one in enumerate(classes, 1):
        yield _stretch(row, kind, text=one.label, score=one.probability, rank=rank, **more)


def _future_lines(place: int, future: Future) -> Iterator[Line]:
    for step, action in enumerate(future.actions, 1):
        head = {"kind": "future", "start": future.time}
        yield head | {"text": action, "rank": place, "step": step}


def _query_lines(query: QueryAnswer) -> Iterator[Line]:
    for rank, span in enumerate(query.spans, 1):
        yield _stretch(span, "span", query=query.query, score=span.score, rank=rank)
    for span in query.saliency:
        yield _stretch(span, "saliency", query=query.query, score=span.score)
