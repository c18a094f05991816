"""Ego4D's files of predicted moments: labelled, scored segments per clip, best first.

    {"version": ..., "external_data": {}, "results": DETECTIONS}     the evaluator's, for val
    {"version": "1.0", "challenge": "ego4d_moment_queries",
     "detect_results": DETECTIONS, "retrieve_results": DETECTIONS}   the server's, for test

where ``DETECTIONS`` is ``{clip_uid: [{"label", "score", "segment": [start, end]}]}``, in seconds of
the clip. The server takes the mAP of the first and the recall of the second; ours are the same.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from train.annotations.json_file import check_json, json_record, read_json
from train.annotations.reading import check_ids, violations

__all__ = [
    "Detection",
    "moment_violations",
    "read_moments",
    "write_challenge_moments",
    "write_moments",
]


@json_record
class Detection:
    """One predicted moment."""

    label: str
    score: float
    segment: Annotated[list[float], Field(min_length=2)]
    """Start and end second in the clip."""


Detections = Mapping[str, Sequence[Detection]]


@json_record
class _Submission:
    version: Any
    external_data: Any
    results: dict[str, list[Detection]]


@json_record
class _ChallengeSubmission:
    version: Literal["1.0"]
    challenge: Literal["ego4d_moment_queries"]
    detect_results: dict[str, list[Detection]]
    retrieve_results: dict[str, list[Detection]]


def write_moments(path: Path, results: Detections) -> None:
    """Write what the official evaluator reads."""
    document = {"version": "1.0", "external_data": {}, "results": _plain(results)}
    path.write_text(json.dumps(document), encoding="utf-8")


def write_challenge_moments(path: Path, results: Detections) -> None:
    """Write what the challenge's server reads."""
    plain = _plain(results)
    document = {
        "version": "1.0",
        "challenge": "ego4d_moment_queries",
        "detect_results": plain,
        "retrieve_results": plain,
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def _plain(results: Detections) -> dict[str, list[dict[str, object]]]:
    return {
        clip_id: [
            {"label": one.label, "score": one.score, "segment": one.segment} for one in detections
        ]
        for clip_id, detections in results.items()
    }


def read_moments(path: Path) -> dict[str, list[Detection]]:
    """Return the predictions of a file for the official evaluator.

    Raises:
        AnnotationError: The file is missing, or a needed field is missing or wrong.
    """
    return read_json(path, _Submission).results


def moment_violations(
    path: Path, clip_ids: Sequence[str], labels: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for everything in which a file breaks the server's format.

    Args:
        path: The file.
        clip_ids: Of the subset.
        labels: The classes.

    Raises:
        AnnotationError: The file is missing.
    """
    submission, wrong = check_json(path, _ChallengeSubmission)
    yield from wrong
    if submission is None:
        return
    for field in ("detect_results", "retrieve_results"):
        results: dict[str, list[Detection]] = getattr(submission, field)
        known_as = f"clips of the subset (in '{field}')"
        yield from violations(
            [partial(check_ids, path, "clip", results, clip_ids, known_as=known_as)]
        )
        for clip_id, detections in results.items():
            for place, one in enumerate(detections):
                for problem in _problems(one, labels):
                    yield f"{path}: field '{field}', clip '{clip_id}', moment {place}: {problem}."


def _problems(one: Detection, labels: Collection[str]) -> Iterator[str]:
    if one.label not in labels:
        yield f"label '{one.label}' is none of the {len(labels)} classes"
    start, end = one.segment[:2]
    if not 0 <= start <= end:
        yield f"segment is [{start:g}, {end:g}], expected seconds with 0 <= start <= end"
