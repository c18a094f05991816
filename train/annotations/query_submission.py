"""Ego4D's submission file for natural-language queries: a few windows per query, best first.

    {"version": "1.0", "challenge": "ego4d_nlq_challenge",
     "results": [{"clip_uid": ..., "annotation_uid": ..., "query_idx": ...,
                  "predicted_times": [[start, end], ...]}]}

Seconds of the clip in, file out, and back, and everything that is wrong with a file.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from train.annotations.ego4d_clips import ClipQuery, QueryKey
from train.annotations.json_file import check_json, json_record

__all__ = ["Answers", "QueryEntry", "QuerySubmission", "query_violations", "write_queries"]

Answers = Sequence[Sequence[float]]
"""Start and end seconds in the clip, best first."""


@json_record
class QueryEntry:
    """What is said of one query."""

    clip_uid: str
    annotation_uid: str
    query_idx: int
    predicted_times: Annotated[
        list[Annotated[list[float], Field(min_length=2)]], Field(min_length=1)
    ]

    @property
    def key(self) -> QueryKey:
        """Return what names the query."""
        return self.clip_uid, self.annotation_uid, self.query_idx


@json_record
class QuerySubmission:
    """The whole file."""

    version: Literal["1.0"]
    challenge: Literal["ego4d_nlq_challenge"]
    results: list[QueryEntry]


def write_queries(path: Path, results: Mapping[QueryKey, Answers]) -> None:
    """Write the windows of each query."""
    entries = [
        {
            "clip_uid": clip_id,
            "annotation_uid": annotation_id,
            "query_idx": index,
            "predicted_times": answers,
        }
        for (clip_id, annotation_id, index), answers in results.items()
    ]
    document = {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": entries}
    path.write_text(json.dumps(document), encoding="utf-8")


def query_violations(path: Path, queries: Mapping[QueryKey, ClipQuery]) -> Iterator[str]:
    """Yield a sentence for everything in which a file breaks the format.

    A query without text may be left out: the official data preparation leaves it out, too.

    Raises:
        AnnotationError: The file is missing.
    """
    submission, wrong = check_json(path, QuerySubmission)
    yield from wrong
    if submission is None:
        return
    given = Counter(entry.key for entry in submission.results)
    for key, count in given.items():
        if key not in queries:
            yield f"{path}: query {key} is none of the {len(queries)} annotated ones."
        elif count > 1:
            yield f"{path}: query {key} has {count} entries, expected one."
    missing = [key for key, one in queries.items() if one.text.strip() and key not in given]
    if missing:
        yield (
            f"{path}: {len(missing)} of {len(queries)} queries have no entry, the first is "
            f"{missing[0]}."
        )
    for entry in submission.results:
        for start, end, *_ in entry.predicted_times:
            if not 0 <= start <= end:
                yield (
                    f"{path}: query {entry.key}: 'predicted_times' has [{start:g}, {end:g}], "
                    "expected seconds of the clip with 0 <= start <= end."
                )
