"""What was said beside what is true: which marks are right, and what was taken for what.

These are aids for the eye, in words that hold for every task. A task's official numbers are its
metric's (``train/metrics``), and stand beside them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from rapidfuzz.distance import Levenshtein

from train.answer import Future, Segment, Span
from train.formats.stretches import future_stretch
from train.metrics.tiou import tiou_by_hull
from train.pages.view import ClassTally, Confusion, Mark, Verdict, tallied

__all__ = [
    "NOTHING",
    "Judged",
    "judge_futures",
    "judge_moments",
    "judge_rows",
    "judge_spans",
    "shown",
]

NOTHING = "nothing"
"""What was said, or is true, where no class is."""

FOUND_TIOU = 0.5
"""From which tIoU on a segment counts as found."""

Timed = Segment | Span


@dataclass(kw_only=True)
class Judged:
    """What came out of a comparison; amounts are seconds or counts."""

    said: list[Mark] = field(default_factory=list)
    truth: list[Mark] = field(default_factory=list)
    errors: list[Mark] = field(default_factory=list)
    judged: float = 0.0
    right: float = 0.0
    tallies: list[ClassTally] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)


def shown(one: Timed, verdict: Verdict = "", *, label: str = "") -> Mark:
    """Return a segment or span as a mark."""
    return Mark(
        start=one.start,
        end=one.end,
        label=label or (one.label if isinstance(one, Segment) else ""),
        score=one.score,
        verdict=verdict,
    )


def unjudged(said: Sequence[Segment], *, in_seconds: bool) -> Judged:
    """Return what is said where nothing is known to compare it with.

    Args:
        said: Any segments.
        in_seconds: Whether classes are counted in seconds; else one by one.
    """
    tallies = tallied(
        ClassTally(label=one.label, said=one.end - one.start if in_seconds else 1.0) for one in said
    )
    return Judged(said=[shown(one) for one in said], tallies=list(tallies))


# --- one class at a time: seconds --------------------------------------------------------------


def judge_rows(said: Sequence[Segment], truth: Sequence[Segment], ahead: float = 0.0) -> Judged:
    """Compare what is said at each instant with what is true then, or a while later.

    Instants of which nothing is annotated are not judged. Where several actions go on at once, any
    of them is right, and a wrong name counts against the one that began last.

    Args:
        said: One after the other.
        truth: May overlap.
        ahead: Seconds after which what is said is to become true.
    """
    judged = Judged(truth=[shown(one) for one in truth])
    right_by_said: dict[int, float] = defaultdict(float)
    judged_by_said: dict[int, float] = defaultdict(float)
    confusions: dict[tuple[str, str], float] = defaultdict(float)
    for start, end, number, labels in _instants(said, truth, ahead):
        seconds = end - start
        name = NOTHING if number is None else said[number].label
        is_right = name in labels
        meant = name if is_right else labels[-1]
        judged.judged += seconds
        judged.right += seconds * is_right
        judged.tallies.append(ClassTally(label=meant, annotated=seconds, right=seconds * is_right))
        if number is not None:
            judged.tallies.append(ClassTally(label=name, said=seconds))
            judged_by_said[number] += seconds
            right_by_said[number] += seconds * is_right
        confusions[meant, name] += seconds
        if not is_right:
            _add_error(judged.errors, start, end, f"said {name}, is {meant}")
    judged.said = [
        shown(one, _verdict(right_by_said[number], judged_by_said[number]))
        for number, one in enumerate(said)
    ]
    judged.tallies = list(tallied(judged.tallies))
    judged.confusions = [
        Confusion(truth=meant, said=name, amount=amount)
        for (meant, name), amount in confusions.items()
    ]
    return judged


def _instants(
    said: Sequence[Segment], truth: Sequence[Segment], ahead: float
) -> Iterator[tuple[float, float, int | None, list[str]]]:
    """Yield the annotated stretches in which nothing changes: what is said, what is true.

    What is true stands in the order in which it began.
    """
    changes = [(one.start, 1, number) for number, one in enumerate(said)]
    changes += [(one.end, 0, number) for number, one in enumerate(said)]
    changes += [(one.start - ahead, 3, number) for number, one in enumerate(truth)]
    changes += [(one.end - ahead, 2, number) for number, one in enumerate(truth)]
    changes.sort()
    current: int | None = None
    going_on: dict[int, str] = {}
    before = 0.0
    for second, kind, number in changes:
        if second > before and going_on:
            yield before, second, current, list(going_on.values())
        if kind == 0 and current == number:
            current = None
        elif kind == 1:
            current = number
        elif kind == 2:
            going_on.pop(number, None)
        elif kind == 3 and truth[number].end > truth[number].start:
            going_on[number] = truth[number].label
        before = max(before, second)


def _verdict(right: float, judged: float) -> Verdict:
    if not judged:
        return ""
    return "right" if right >= judged / 2 else "wrong"


def _add_error(errors: list[Mark], start: float, end: float, label: str) -> None:
    if errors and errors[-1].end == start and errors[-1].label == label:
        start = errors.pop().start
    errors.append(Mark(start=start, end=end, label=label, verdict="wrong"))


# --- moments: counts ---------------------------------------------------------------------------


def judge_moments(said: Sequence[Segment], truth: Sequence[Segment]) -> Judged:
    """Compare detected moments with annotated ones: as many of the best as are annotated count.

    Best first, each takes the annotated moment of its class that it fits best, if that is still
    free and their tIoU is at least ``FOUND_TIOU``.

    Args:
        said: Best first.
        truth: In any order.
    """
    found: set[int] = set()
    judged = Judged(judged=len(truth))
    judged.tallies += [ClassTally(label=one.label, annotated=1) for one in truth]
    overlaps_NM = _overlaps(said, truth)
    for place, one in enumerate(said):
        overlaps = overlaps_NM[place]
        free = [
            number
            for number, other in enumerate(truth)
            if other.label == one.label and number not in found and overlaps[number] >= FOUND_TIOU
        ]
        best = max(free, key=lambda number: overlaps[number], default=None)
        judged.said.append(shown(one, "wrong" if best is None else "right"))
        if best is not None:
            found.add(best)
        if place < len(truth):
            judged.right += best is not None
            judged.tallies.append(
                ClassTally(label=one.label, said=1, right=float(best is not None))
            )
            judged.confusions.append(_moment_confusion(one, truth, overlaps, best))
    judged.truth = [
        shown(one, "right" if number in found else "missed") for number, one in enumerate(truth)
    ]
    judged.tallies = list(tallied(judged.tallies))
    return judged


def _moment_confusion(
    said: Segment, truth: Sequence[Segment], overlaps: Sequence[float], found: int | None
) -> Confusion:
    """Name what a moment was taken for: the annotated one that it covers best."""
    place = found
    if place is None and truth:
        place = max(range(len(truth)), key=lambda number: overlaps[number])
        place = place if overlaps[place] >= FOUND_TIOU else None
    meant = NOTHING if place is None else truth[place].label
    return Confusion(truth=meant, said=said.label, amount=1)


# --- answers to a query: counts ----------------------------------------------------------------


def judge_spans(said: Sequence[Span], truth: Sequence[Span]) -> Judged:
    """Compare the spans that answer a query; the best span's tIoU is how right they are.

    Args:
        said: Best first.
        truth: Any of them is an answer.
    """
    overlaps = [max(own, default=0.0) for own in _overlaps(said, truth)]
    best = overlaps[0] if overlaps else 0.0
    return Judged(
        said=[
            shown(one, "right" if overlap >= FOUND_TIOU else "wrong", label=f"#{rank}")
            for rank, (one, overlap) in enumerate(zip(said, overlaps, strict=True), 1)
        ],
        truth=[shown(one, "right" if best >= FOUND_TIOU else "missed") for one in truth],
        judged=1.0,
        right=best,
    )


# --- futures: counts ---------------------------------------------------------------------------


def judge_futures(said: Sequence[Future], truth: Sequence[Future]) -> Judged:
    """Compare the ways in which a video may go on with the one in which it did.

    Of several futures of one instant the best counts: 1 - edit distance / number of actions, as in
    Ego4D's long-term anticipation.

    Args:
        said: Several for each instant.
        truth: At most one for each.
    """
    candidates: dict[float, list[Future]] = defaultdict(list)
    for one in said:
        candidates[one.time].append(one)
    judged = Judged()
    known = {one.time: one for one in truth}
    for time, own in candidates.items():
        if time not in known or not known[time].actions:
            judged.said.append(_future_mark(own[0]))
            continue
        came = known[time].actions
        best = min(own, key=lambda one: Levenshtein.distance(one.actions[: len(came)], came))
        distance = Levenshtein.distance(best.actions[: len(came)], came)
        judged.judged += 1
        judged.right += 1 - distance / len(came)
        is_right = distance <= len(came) / 2
        judged.said.append(_future_mark(best, "right" if is_right else "wrong"))
        judged.truth.append(_future_mark(known[time]))
    return judged


def _future_mark(future: Future, verdict: Verdict = "") -> Mark:
    start, end = future_stretch(future)
    return Mark(start=start, end=end, label=" → ".join(future.actions), verdict=verdict)


def _overlaps(said: Sequence[Timed], truth: Sequence[Timed]) -> list[list[float]]:
    """Return the tIoU of each with each, (N, M); 0 of two without length."""
    said_N2, truth_M2 = (
        np.array([(one.start, one.end) for one in some], np.float64).reshape(-1, 2)
        for some in (said, truth)
    )
    overlaps: list[list[float]] = np.nan_to_num(tiou_by_hull(said_N2, truth_M2)).tolist()
    return overlaps
