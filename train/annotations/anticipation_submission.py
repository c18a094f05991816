"""EPIC-KITCHENS-100's submission file for action anticipation: one JSON object of scores.

    {"version": "0.2", "challenge": "action_anticipation", "sls_pt": 1, "sls_tl": 3, "sls_td": 3,
     "results": {narration id: {"verb": {"0": score, ...}, "noun": {"0": score, ...},
                                "action": {"verb,noun": score, ...}}}}

``sls_*`` are levels of the Supervision Levels Scale (Damen and Wray, arXiv 2008.09890), 0 to 5.
Score arrays in, file out, and back; what the official evaluator refuses is refused here, too, and
told all at once by ``submission_violations``.

Shapes: S segments, V verbs, N nouns, A listed actions.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.json_file import read_json_object
from train.annotations.reading import check_ids, violations

__all__ = [
    "LEVELS",
    "AnticipationScores",
    "ClassCounts",
    "read_submission",
    "submission_violations",
    "write_submission",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

VERSION, CHALLENGE = "0.2", "action_anticipation"
LEVELS = ("sls_pt", "sls_tl", "sls_td")
"""What a submission states of the supervision it took: pretraining, training labels, training
data."""
HIGHEST_LEVEL = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCounts:
    """How many scores a segment has."""

    verbs: int
    nouns: int
    actions: int
    """Listed ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnticipationScores:
    """What is said about S segments."""

    verb_SV: Floats
    noun_SN: Floats
    listed_SA: Integers | None
    """Actions as ``verb * N + noun``; None where a submission lists none."""
    action_SA: Floats | None
    """Scores of the listed actions."""


def write_submission(
    path: Path,
    parts: Iterable[tuple[Sequence[str], AnticipationScores]],
    levels: Mapping[str, int],
) -> None:
    """Write narration ids and their scores part by part: at full size it is 60 MB of text.

    Args:
        path: Where; its folder is made.
        parts: Narration ids and their scores.
        levels: Of supervision, by the names of ``LEVELS``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"version": VERSION, "challenge": CHALLENGE, **levels}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(header)[:-1] + ', "results": {')
        separator = "\n"
        for narration_ids, scores in parts:
            for row, narration_id in enumerate(narration_ids):
                text = json.dumps(_entry(scores, row), separators=(",", ":"))
                file.write(f"{separator}{json.dumps(narration_id)}: {text}")
                separator = ",\n"
        file.write("\n}}\n")


def _entry(scores: AnticipationScores, row: int) -> dict[str, dict[str, float]]:
    entry = {
        kind: {str(class_id): score for class_id, score in enumerate(_digits(values[row]))}
        for kind, values in (("verb", scores.verb_SV), ("noun", scores.noun_SN))
    }
    if scores.listed_SA is not None and scores.action_SA is not None:
        num_nouns = scores.noun_SN.shape[1]
        pairs = (divmod(action, num_nouns) for action in scores.listed_SA[row].tolist())
        listed = zip(pairs, _digits(scores.action_SA[row]), strict=True)
        entry["action"] = {f"{verb},{noun}": score for (verb, noun), score in listed}
    return entry


def _digits(scores: Floats) -> list[float]:
    """Keep six significant digits, not six decimals: a tiny probability must keep its rank."""
    return [float(f"{score:.6g}") for score in scores.tolist()]


def read_submission(
    path: Path, narration_ids: Sequence[str], counts: ClassCounts
) -> AnticipationScores:
    """Return the scores of exactly these segments, in their order.

    Raises:
        AnnotationError: The file is no submission, an id is unknown or missing, a class is unknown
            or missing, the number of actions is wrong, or a score is no finite number.
    """
    document = read_json_object(path)
    for wrong in _wrong_header(path, document):
        raise AnnotationError(wrong)
    results = _results(path, document)
    check_ids(path, "segment", results, narration_ids, known_as="annotated ones")
    segments = [_Segment(path, one, results[one], counts) for one in narration_ids]
    verb_SV, noun_SN = (np.stack([one.dense(kind) for one in segments]) for kind in _DENSE)
    with_actions = [one.has_actions for one in segments]
    if not any(with_actions):
        return AnticipationScores(verb_SV=verb_SV, noun_SN=noun_SN, listed_SA=None, action_SA=None)
    if not all(with_actions):
        raise segments[with_actions.index(False)].error(
            "field 'action' is missing, though others have it. Give it for all segments or none"
        )
    listed, scores = zip(*(one.listed() for one in segments), strict=True)
    return AnticipationScores(
        verb_SV=verb_SV,
        noun_SN=noun_SN,
        listed_SA=np.stack(listed),
        action_SA=np.stack(scores),
    )


def submission_violations(
    path: Path, narration_ids: Sequence[str], counts: ClassCounts
) -> Iterator[str]:
    """Yield a sentence for everything for which ``read_submission`` would refuse a file.

    Raises:
        AnnotationError: The file is missing or no JSON object.
    """
    document = read_json_object(path)
    yield from _wrong_header(path, document)
    try:
        results = _results(path, document)
    except AnnotationError as wrong:
        yield str(wrong)
        return
    check = partial(check_ids, path, "segment", results, narration_ids, known_as="annotated ones")
    yield from violations([check])
    with_actions = any(isinstance(one, dict) and "action" in one for one in results.values())
    for narration_id in narration_ids:
        if narration_id in results:
            entry = results[narration_id]
            yield from _wrong_segment(path, narration_id, entry, counts, with_actions)


def _wrong_segment(
    path: Path,
    narration_id: str,
    entry: object,
    counts: ClassCounts,
    with_actions: bool,
) -> Iterator[str]:
    try:
        segment = _Segment(path, narration_id, entry, counts)
    except AnnotationError as wrong:
        yield str(wrong)
        return
    checks: list[Callable[[], object]] = [partial(segment.dense, kind) for kind in _DENSE]
    if with_actions:
        checks.append(segment.listed)
    yield from violations(checks)


_DENSE = ("verb", "noun")


def _wrong_header(path: Path, document: Mapping[str, Any]) -> Iterator[str]:
    for field, expected in (("version", VERSION), ("challenge", CHALLENGE)):
        if document.get(field) != expected:
            yield f"{path}: field '{field}' is {document.get(field)!r}, expected '{expected}'."
    for field in LEVELS:
        level = document.get(field)
        if not (isinstance(level, int | float) and 0 <= level <= HIGHEST_LEVEL):
            yield f"{path}: field '{field}' is {level!r}, expected 0 to {HIGHEST_LEVEL}."


def _results(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    results = document.get("results")
    if not isinstance(results, dict):
        raise AnnotationError(f"{path}: field 'results' is missing or no object of segments.")
    return results


class _Segment:
    """The entry of one segment."""

    def __init__(self, path: Path, narration_id: str, entry: object, counts: ClassCounts) -> None:
        self._where = f"{path}: segment '{narration_id}'"
        if not isinstance(entry, dict):
            raise self.error(f"got {type(entry).__name__}, expected an object")
        self._entry = entry
        self._counts = counts

    @property
    def has_actions(self) -> bool:
        return "action" in self._entry

    def error(self, message: str) -> AnnotationError:
        return AnnotationError(f"{self._where}, {message}.")

    def dense(self, kind: str) -> Floats:
        """Return the scores of all verbs or nouns by their id."""
        count = self._counts.verbs if kind == "verb" else self._counts.nouns
        scores, names = self._scores(kind, count)
        try:
            order = np.argsort([int(name) for name in names])
            ids = np.array([int(names[place]) for place in order])
        except ValueError:
            ids = np.zeros(0)
        if not np.array_equal(ids, np.arange(count)):
            unknown = sorted(set(names) - {str(one) for one in range(count)})
            got = f"class '{unknown[0]}'" if unknown else "a class twice"
            raise self.error(f"field '{kind}' has {got}, expected each of 0 to {count - 1} once")
        return scores[order]

    def listed(self) -> tuple[Integers, Floats]:
        """Return the listed actions and their scores, in the order of the file."""
        scores, names = self._scores("action", self._counts.actions)
        actions = np.array([self._action(name) for name in names], np.int64)
        if len(set(actions.tolist())) < len(names):
            raise self.error("field 'action' has an action twice")
        return actions, scores

    def _action(self, name: str) -> int:
        try:
            verb, noun = map(int, name.split(","))
        except ValueError:
            verb = noun = -1
        if not (0 <= verb < self._counts.verbs and 0 <= noun < self._counts.nouns):
            raise self.error(f"field 'action' has '{name}', expected 'verb id,noun id'")
        return verb * self._counts.nouns + noun

    def _scores(self, kind: str, count: int) -> tuple[Floats, list[str]]:
        entry = self._entry.get(kind)
        if not isinstance(entry, dict):
            raise self.error(f"field '{kind}' is missing or no object of scores")
        if len(entry) != count:
            raise self.error(f"field '{kind}' has {len(entry)} scores, expected {count}")
        values = list(entry.values())
        for name, value in entry.items():
            if not isinstance(value, int | float):
                raise self.error(f"field '{kind}', class '{name}' is {value!r}, expected a number")
        scores = np.array(values, np.float64)
        if not np.isfinite(scores).all():
            name = list(entry)[int(np.argmin(np.isfinite(scores)))]
            raise self.error(f"field '{kind}', class '{name}' is {entry[name]}, expected finite")
        return scores, list(entry)
