"""``eaf``: annotations for ELAN, to be looked at and corrected beside the video.

A tier per kind of thing and per query; annotations of a tier must not overlap, so those that do
are spread over several. What ELAN can search and correct is the label alone: how sure the run is
of it stands in a tier below.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cache_schema.errors import ConfigError
from train.answer import Answer, QueryAnswer, Segment
from train.formats.stretches import (
    forecasts,
    future_stretch,
    milliseconds,
    next_classes,
    one_line,
)
from train.formats.writer import FolderWriter

__all__ = ["ElanWriter"]

SCORE_TYPE = "score"

Annotation = tuple[int, int, str, float | None]
"""Start and end in milliseconds, value, score."""


class ElanWriter(FolderWriter):
    """One ``.eaf`` file per video."""

    suffix = ".eaf"

    def __init__(self, out: Path) -> None:
        try:
            import pympi
        except ImportError as error:
            raise ConfigError(
                "--format eaf needs pympi-ling: pip install 'video-feature-llm[elan]'."
            ) from error
        super().__init__(out)
        self._new_document = pympi.Eaf

    def write_file(self, answer: Answer, path: Path) -> None:
        """Write the tiers of one video."""
        document = self._new_document(author="video-feature-llm")
        document.remove_tier("default")
        document.add_linguistic_type(SCORE_TYPE, "Symbolic_Association", timealignable=False)
        for name, annotations in _tiers(answer):
            for number, lane in enumerate(_lanes(annotations), 1):
                _add_tier(document, one_line(name) + (f" ({number})" if number > 1 else ""), lane)
        _complete_header(document, answer.video)
        document.to_file(str(path))


def _complete_header(document: Any, video_id: str) -> None:  # noqa: ANN401 - pympi has no types
    """Say what pympi leaves out or gets wrong."""
    # Its own time zone is no number of hours and minutes where that is not a whole hour.
    document.adocument["DATE"] = datetime.now(UTC).isoformat(timespec="seconds")
    document.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    # Without it ELAN gives new annotations ids that are taken.
    document.properties = [("lastUsedAnnotationId", document.maxaid)]
    # ELAN asks for the file where it is not beside the .eaf or is named otherwise.
    media = one_line(f"{video_id.rpartition('/')[2]}.mp4")
    document.add_linked_file(f"file:///{media}", f"./{media}", "video/mp4")


def _add_tier(document: Any, name: str, lane: "_Lane") -> None:  # noqa: ANN401
    document.add_tier(name)
    scores = f"{name} {SCORE_TYPE}"
    for start, end, value, score in lane.annotations:
        document.add_annotation(name, start, end, value)
        if score is None:
            continue
        if scores not in document.tiers:
            document.add_tier(scores, SCORE_TYPE, parent=name)
        # Not add_ref_annotation: it looks for the annotation by its time, one by one.
        parent = next(reversed(document.tiers[name][0]))
        below = document.tiers[scores][1]
        below[document.generate_annotation_id()] = (parent, f"{score:.3f}", None, None)


def _tiers(answer: Answer) -> Iterator[tuple[str, list[Annotation]]]:
    yield "segment", _labelled(answer.segments)
    yield "next", _labelled(next_classes(answer))
    for seconds, runs in forecasts(answer):
        yield f"in {seconds:g} s", _labelled(runs)
    yield "caption", [_annotation(one, one.text, None) for one in answer.captions]
    for number, query in enumerate(answer.queries, 1):
        yield from _query_tiers(number, query)
    yield (
        "future",
        [
            (*milliseconds(*future_stretch(one)), one_line(", ".join(one.actions)), None)
            for one in answer.futures
        ],
    )


def _labelled(segments: Iterable[Segment]) -> list[Annotation]:
    return [_annotation(one, one.label, one.score) for one in segments]


def _query_tiers(number: int, query: QueryAnswer) -> Iterator[tuple[str, list[Annotation]]]:
    name = f"query {number}: {query.query}"
    ranked = enumerate(query.spans, 1)
    yield name, [_annotation(one, str(rank), one.score) for rank, one in ranked]
    yield (
        f"{name}, saliency",
        [_annotation(one, f"{one.score:.3f}", None) for one in query.saliency],
    )


def _annotation(timed: Any, value: str, score: float | None) -> Annotation:  # noqa: ANN401
    return *milliseconds(timed.start, timed.end), one_line(value), score


class _Lane:
    """Annotations that do not overlap, in the order of time."""

    def __init__(self) -> None:
        self.annotations: list[Annotation] = []

    def takes(self, annotation: Annotation) -> bool:
        """Add an annotation where there is room for it."""
        start, end = annotation[:2]
        place = bisect_left(self.annotations, end, key=lambda one: one[0])
        if place and self.annotations[place - 1][1] > start:
            return False
        self.annotations.insert(place, annotation)
        return True


def _lanes(annotations: Sequence[Annotation]) -> list[_Lane]:
    """Spread annotations over as few tiers as taking the first that has room gives.

    The better ones come first and so lie in the first tiers.
    """
    lanes: list[_Lane] = []
    for annotation in annotations:
        if not any(lane.takes(annotation) for lane in lanes):
            lanes.append(_Lane())
            lanes[-1].takes(annotation)
    return lanes
