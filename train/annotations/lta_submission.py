"""Ego4D's submission file for long-term anticipation: a few candidate futures per window.

    {"<clip_uid>_<last visible action_idx>": {"verb": [C][Z], "noun": [C][Z]}}

Label arrays in, file out, and back, with every way a file can be wrong turned into a sentence. The
server wants ``CHALLENGE_CANDIDATES`` futures of ``CHALLENGE_ACTIONS`` actions.

Shapes: C candidates, Z future actions, 2 verb and noun.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.json_file import read_json_object
from train.annotations.reading import check_ids, violations

__all__ = [
    "KINDS",
    "FutureShape",
    "challenge_shape",
    "future_violations",
    "read_futures",
    "write_futures",
]

Integers = NDArray[np.int64]

KINDS = ("verb", "noun")
CHALLENGE_CANDIDATES, CHALLENGE_ACTIONS = 5, 20
KNOWN_AS = "annotated ones (<clip_uid>_<last visible action_idx>)"


@dataclass(frozen=True, kw_only=True, slots=True)
class FutureShape:
    """What every window of a submission holds."""

    candidates: int
    actions: int
    """Z."""
    classes: Mapping[str, int]
    """How many verbs and nouns there are."""


def write_futures(path: Path, futures: Mapping[str, Integers]) -> None:
    """Write the candidates (C, Z, 2) of each window by its key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    submission = {
        key: {kind: futures[key][..., place].tolist() for place, kind in enumerate(KINDS)}
        for key in sorted(futures)
    }
    path.write_text(json.dumps(submission, separators=(",", ":")), encoding="utf-8")


def read_futures(path: Path, keys: Sequence[str], shape: FutureShape) -> list[Integers]:
    """Return the candidates (C, Z, 2) of exactly these windows, in their order.

    Raises:
        AnnotationError: The file is no submission, a window is unknown or missing, or its lists
            have a wrong length or a label that is no id.
    """
    entries = read_json_object(path)
    check_ids(path, "window", entries, keys, known_as=KNOWN_AS)
    return [
        np.stack([_labels(path, key, entries[key], kind, shape) for kind in KINDS], axis=-1)
        for key in keys
    ]


def challenge_shape(classes: Mapping[str, int]) -> FutureShape:
    """Return what the challenge's server expects of every window, given the numbers of classes."""
    return FutureShape(candidates=CHALLENGE_CANDIDATES, actions=CHALLENGE_ACTIONS, classes=classes)


def future_violations(path: Path, keys: Sequence[str], shape: FutureShape) -> Iterator[str]:
    """Yield a sentence for everything for which ``read_futures`` would refuse a file.

    Raises:
        AnnotationError: The file is missing or no JSON object.
    """
    entries = read_json_object(path)
    check = partial(check_ids, path, "window", entries, keys, known_as=KNOWN_AS)
    yield from violations([check])
    yield from violations(
        partial(_labels, path, key, entries[key], kind, shape)
        for key in keys
        if key in entries
        for kind in KINDS
    )


def _labels(path: Path, key: str, entry: object, kind: str, shape: FutureShape) -> Integers:
    """Return the labels (C, Z) of one window."""
    rows = entry.get(kind) if isinstance(entry, dict) else entry
    count = shape.classes[kind]
    is_right = (
        isinstance(rows, list)
        and len(rows) == shape.candidates
        and all(isinstance(row, list) and len(row) == shape.actions for row in rows)
        and all(type(label) is int and 0 <= label < count for row in rows for label in row)
    )
    if not is_right:
        text = repr(rows)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise AnnotationError(
            f"{path}: window '{key}', field '{kind}' is {shown}, expected {shape.candidates} lists "
            f"of {shape.actions} ids below {count}."
        )
    return np.array(rows, np.int64)
