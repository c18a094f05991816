"""What is said about a video: the records of a prediction, for people and for other programs.

One ``Answer`` per video, written as one line of JSON; docs/predictions.md is its prose. Times are
seconds from the start of the video, labels are names, probabilities sum to one over all classes.
What annotations say is put into the same words (``Task.truth``).
"""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from cache_schema.parsing import record, to_mapping

__all__ = [
    "Answer",
    "Caption",
    "ClassScore",
    "Forecast",
    "Future",
    "QueryAnswer",
    "Row",
    "Segment",
    "Span",
    "StreamedRow",
    "as_json",
    "merged",
]

SCHEMA_VERSION = 1

Said = TypeVar("Said")


@record
class ClassScore:
    """A class and how probable it is."""

    label: str
    probability: float


@record
class Segment:
    """A labelled stretch of the video."""

    start: float
    end: float
    """Exclusive."""
    label: str
    score: float
    """0 to 1: mean probability of its rows, or how sure the head is of a moment."""


@record
class Span:
    """A stretch of the video that answers a query, or shows a highlight."""

    start: float
    end: float
    """Exclusive."""
    score: float
    """0 to 1, larger is better."""


@record
class Forecast:
    """What will go on a while after a row has ended."""

    seconds: float
    """After the row's end."""
    classes: tuple[ClassScore, ...]
    """Most probable first."""


@record
class Row:
    """What one row of features says; it knows nothing of what comes after its end."""

    start: float
    end: float
    now: tuple[ClassScore, ...] = ()
    """Of the row itself, most probable first."""
    next: tuple[ClassScore, ...] = ()
    """Of the row after it, most probable first."""
    ahead: tuple[Forecast, ...] = ()


@record
class Future:
    """One way in which the video may go on."""

    time: float
    """What was seen ends here."""
    actions: tuple[str, ...]
    """The coming ones, in their order."""


@record
class Caption:
    """A sentence about what has just happened."""

    start: float
    """When it can first be said: the end of the row that says it."""
    end: float
    """When the next one is said, or the video ends."""
    text: str


@record
class QueryAnswer:
    """What is said about one query."""

    query: str
    """As asked."""
    spans: tuple[Span, ...] = ()
    """Best first."""
    saliency: tuple[Span, ...] = ()
    """How well each row shows what is asked, in the order of time."""


@record
class Answer:
    """What a run says about one video."""

    video: str
    task: str
    duration: float
    """End of the last row."""
    segments: tuple[Segment, ...] = ()
    rows: tuple[Row, ...] = ()
    futures: tuple[Future, ...] = ()
    captions: tuple[Caption, ...] = ()
    queries: tuple[QueryAnswer, ...] = ()
    schema_version: int = SCHEMA_VERSION


@record
class StreamedRow:
    """What a run says about a row of a source that is still running."""

    video: str
    task: str
    start: float
    end: float
    """Seconds from the start of the stream."""
    latency_ms: float
    """From the moment the row's last frame was there."""
    dropped_rows: int = 0
    """So far, as the other three counts: rows that the machine was too slow for."""
    late_frames: int = 0
    damaged_frames: int = 0
    reconnects: int = 0
    now: tuple[ClassScore, ...] = ()
    next: tuple[ClassScore, ...] = ()
    ahead: tuple[Forecast, ...] = ()
    futures: tuple[Future, ...] = ()
    captions: tuple[Caption, ...] = ()
    schema_version: int = SCHEMA_VERSION


def as_json(said: Answer | StreamedRow) -> dict[str, object]:
    """Return what is said as plain values, without the kinds of things that it does not hold."""
    plain = to_mapping(said)
    head = {"schema_version": plain.pop("schema_version")}
    return head | {key: value for key, value in plain.items() if value not in ((), [])}


def merged(answers: Sequence[Answer]) -> Answer:
    """Join what is said about stretches of one video, such as its clips or its queries.

    All comes in the order of time, queries in the order of the answers; what is said twice is kept
    once. The duration is the longest one.

    Args:
        answers: At least one, all of one video and task.
    """
    first, span = answers[0], attrgetter("start", "end")
    assert {(one.video, one.task) for one in answers} == {(first.video, first.task)}
    return Answer(
        video=first.video,
        task=first.task,
        duration=max(one.duration for one in answers),
        segments=_once((said for one in answers for said in one.segments), span),
        rows=_once((said for one in answers for said in one.rows), span),
        futures=_once((said for one in answers for said in one.futures), attrgetter("time")),
        captions=_once((said for one in answers for said in one.captions), span),
        queries=tuple(dict.fromkeys(said for one in answers for said in one.queries)),
    )


def _once(said: Iterable[Said], time: Callable[[Said], Any]) -> tuple[Said, ...]:
    """Return different records by their time; of one time as they came."""
    return tuple(sorted(dict.fromkeys(said), key=time))
