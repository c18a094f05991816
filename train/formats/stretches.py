"""What is said of rows and of the future, as labelled stretches of time that can be shown."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from train.answer import Answer, ClassScore, Future, Row, Segment

__all__ = ["forecasts", "future_stretch", "milliseconds", "next_classes", "one_line"]

FUTURE_SECONDS = 5.0
"""How long before what was seen ends a future is shown: behind the end no player shows anything."""

UNPRINTABLE = re.compile("[\x00-\x1f\ufffe\uffff]")
"""What XML 1.0 forbids."""

Classes = Sequence[ClassScore]


def next_classes(answer: Answer) -> list[Segment]:
    """Return the runs of rows that foretell one class for the row after them."""
    return _runs(answer.rows, [row.next for row in answer.rows])


def forecasts(answer: Answer) -> Iterator[tuple[float, list[Segment]]]:
    """Return for each of the seconds that rows look ahead the runs that foretell one class."""
    for steps in zip(*(row.ahead for row in answer.rows), strict=True):
        yield steps[0].seconds, _runs(answer.rows, [step.classes for step in steps])


def _runs(rows: Sequence[Row], classes_R: Sequence[Classes]) -> list[Segment]:
    """Join rows of one most probable class, scored by its mean probability.

    What a row foretells can be said from its end on, until the next row has ended. The last one's
    would be said when nothing is shown any more, so it is left out.
    """
    runs: list[list[tuple[Row, Row, ClassScore]]] = []
    for (row, following), classes in zip(pairwise(rows), classes_R, strict=False):
        if not classes:
            continue
        if not runs or runs[-1][-1][2].label != classes[0].label:
            runs.append([])
        runs[-1].append((row, following, classes[0]))
    return [
        Segment(
            start=run[0][0].end,
            end=run[-1][1].end,
            label=run[0][2].label,
            score=sum(best.probability for _, _, best in run) / len(run),
        )
        for run in runs
    ]


def future_stretch(future: Future) -> tuple[float, float]:
    """Return where a future is shown: the last seconds of what was seen."""
    return max(0.0, future.time - FUTURE_SECONDS), future.time


def milliseconds(start: float, end: float) -> tuple[int, int]:
    """Round a stretch of seconds; the end stays behind the start.

    >>> milliseconds(0.0014, 0.0016), milliseconds(1.0, 1.0)
    ((1, 2), (1000, 1001))
    """
    first = round(start * 1000)
    return first, max(round(end * 1000), first + 1)


def one_line(text: str) -> str:
    r"""Return text with single spaces, and a sign in place of characters that no file may hold.

    >>> one_line(" a\n\nb\x00")
    'a b�'
    """
    return UNPRINTABLE.sub("\ufffd", " ".join(text.split()))
