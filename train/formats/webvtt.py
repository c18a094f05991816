"""``vtt``: subtitles that a player shows beside each video (WebVTT, W3C)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from train.answer import Answer, Future, QueryAnswer
from train.formats.stretches import forecasts, future_stretch, milliseconds, one_line
from train.formats.writer import FolderWriter

__all__ = ["LEAST_SCORE", "SubtitleWriter"]

LEAST_SCORE = 0.25
"""Of moments, and of a query's spans but the best one: less likely ones would hide the others."""

FUTURE_ACTIONS = 5
"""Of each future; more are no subtitle."""

Cue = tuple[float, float, Sequence[str]]
"""Start and end second, and lines of text."""


class SubtitleWriter(FolderWriter):
    """One ``.vtt`` file per video."""

    suffix = ".vtt"

    def write_file(self, answer: Answer, path: Path) -> None:
        """Write the cues of one video in the order of their starts."""
        blocks = sorted(_timed(cue) for cue in _cues(answer))
        texts = ["WEBVTT", *(_block(*block) for block in blocks if block[2])]
        path.write_bytes(("\n\n".join(texts) + "\n").encode("utf-8"))


def _timed(cue: Cue) -> tuple[int, int, str]:
    start, end, lines = cue
    text = "\n".join(filter(None, map(_escaped, lines)))
    return *milliseconds(start, end), text


def _block(start: int, end: int, text: str) -> str:
    return f"{_timestamp(start)} --> {_timestamp(end)}\n{text}"


def _timestamp(milliseconds: int) -> str:
    """Return a time as players read it.

    >>> _timestamp(3_723_004)
    '01:02:03.004'
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _escaped(text: str) -> str:
    """Return one line of a cue; the arrow that starts a cue cannot be left in it."""
    line = one_line(text)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cues(answer: Answer) -> Iterator[Cue]:
    for segment in answer.segments:
        if answer.task != "moment_query" or segment.score >= LEAST_SCORE:
            yield segment.start, segment.end, [segment.label]
    for seconds, runs in forecasts(answer):
        for run in runs:
            yield run.start, run.end, [f"in {seconds:g} s: {run.label}"]
    for caption in answer.captions:
        yield caption.start, caption.end, [caption.text]
    for query in answer.queries:
        yield from _query_cues(query)
    if answer.futures:
        yield _future_cue(answer.futures)


def _query_cues(query: QueryAnswer) -> Iterator[Cue]:
    for rank, span in enumerate(query.spans):
        if rank == 0 or span.score >= LEAST_SCORE:
            yield span.start, span.end, [f"{query.query} ({span.score:.0%})"]


def _future_cue(futures: Sequence[Future]) -> Cue:
    """Put the first actions of all futures into one cue, each way to go on once."""
    lines = dict.fromkeys(_future_line(future.actions) for future in futures)
    return *future_stretch(futures[0]), list(lines)


def _future_line(actions: Sequence[str]) -> str:
    more = ", ..." if len(actions) > FUTURE_ACTIONS else ""
    return f"then: {', '.join(actions[:FUTURE_ACTIONS])}{more}"
