"""QVHighlights' submission file: one JSON object per line and query.

    {"qid": 7, "query": ..., "vid": ..., "pred_relevant_windows": [[start, end, score], ...],
     "pred_saliency_scores": [score of each 2-s clip]}

File in, ``HighlightPrediction`` out, and everything that is wrong with it; lines out.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from cache_schema.errors import AnnotationError
from train.annotations.json_file import check_json_lines, json_record, read_json_lines
from train.annotations.qvhighlights import VideoQuery
from train.annotations.reading import line_error

__all__ = [
    "HighlightPrediction",
    "highlight_violations",
    "read_highlights",
    "write_highlights",
]

Windows = Sequence[tuple[float, float, float]]
"""Start and end second and score, best first."""

FIELDS = ("pred_saliency_scores", "pred_relevant_windows")


@json_record
class HighlightPrediction:
    """One line of a submission."""

    qid: int
    pred_saliency_scores: list[float] | None = None
    """Of each clip, from the first on."""
    pred_relevant_windows: list[tuple[float, float, float]] | None = None
    """Start and end second and score, best first."""


def write_highlights(
    path: Path, predictions: Iterable[tuple[VideoQuery, Windows, Sequence[float]]]
) -> None:
    """Write a line per query: its windows, and the score of each clip."""
    with path.open("w", encoding="utf-8") as file:
        for query, windows, scores in predictions:
            line = {
                "qid": query.qid,
                "query": query.query,
                "vid": query.vid,
                "pred_relevant_windows": [list(window) for window in windows],
                "pred_saliency_scores": [round(float(score), 6) for score in scores],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_highlights(path: Path, qids: Sequence[int]) -> dict[int, HighlightPrediction]:
    """Return the predictions of exactly these queries.

    Raises:
        AnnotationError: A line is wrong, a query is missing, unknown or given twice, or a field is
            there for some of the queries only.
    """
    lines = dict(enumerate(read_json_lines(path, HighlightPrediction), start=1))
    for wrong in chain(_wrong_queries(path, lines, qids), _wrong_fields(path, lines)):
        raise AnnotationError(wrong)
    return {one.qid: one for one in lines.values()}


def highlight_violations(path: Path, queries: Mapping[int, VideoQuery]) -> Iterator[str]:
    """Yield a sentence for everything in which a file breaks the published format.

    That wants a score of every 2-s clip. One more or less is let pass: the evaluator cuts and pads,
    and of the 1,550 lines of its own sample 13 lack the last clip's.

    Raises:
        AnnotationError: The file is missing or empty, or has a blank line.
    """
    lines, wrong = check_json_lines(path, HighlightPrediction)
    yield from wrong
    if wrong:
        return
    yield from _wrong_queries(path, lines, list(queries))
    yield from _wrong_fields(path, lines)
    for number, one in lines.items():
        if one.qid in queries:
            for problem in _problems(one, queries[one.qid]):
                yield str(line_error(path, number, f"qid {one.qid}: {problem}."))


def _wrong_queries(
    path: Path, lines: Mapping[int, HighlightPrediction], qids: Sequence[int]
) -> Iterator[str]:
    known, seen = set(qids), set()
    for number, one in lines.items():
        if one.qid not in known:
            yield str(line_error(path, number, f"qid {one.qid} is not in the annotations."))
        elif one.qid in seen:
            yield str(line_error(path, number, f"qid {one.qid} is predicted twice."))
        seen.add(one.qid)
    if missing := [qid for qid in qids if qid not in seen]:
        yield (
            f"{path}: {len(missing)} of {len(qids)} queries have no prediction, the first is qid "
            f"{missing[0]}. The evaluator scores all or none."
        )


def _wrong_fields(path: Path, lines: Mapping[int, HighlightPrediction]) -> Iterator[str]:
    given = 0
    for field in FIELDS:
        values = {one.qid: getattr(one, field) for one in lines.values()}
        if all(value is None for value in values.values()):
            continue
        given += 1
        for qid, value in values.items():
            if not value:
                found = "is missing, other queries have it" if value is None else "is empty"
                yield f"{path}: qid {qid}: field '{field}' {found}."
    if not given:
        yield f"{path}: no line has '{FIELDS[0]}' or '{FIELDS[1]}'."


def _problems(one: HighlightPrediction, query: VideoQuery) -> Iterator[str]:
    """Yield what is wrong with the values of a line."""
    scores = one.pred_saliency_scores
    if scores and abs(len(scores) - query.num_clips) > 1:
        yield (
            f"field 'pred_saliency_scores' has {len(scores)} scores, expected {query.num_clips}: "
            f"one of each 2-s clip of {query.duration:g} seconds"
        )
    for start, end, _ in one.pred_relevant_windows or ():
        if not 0 <= start <= end:
            yield (
                f"field 'pred_relevant_windows' has [{start:g}, {end:g}], expected seconds with "
                "0 <= start <= end"
            )
