"""What annotations say of times, counted where the rows of the videos say otherwise.

A few such cases are told before training; more than half stop the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.stream import Stream
from train.data.samples import FoundVideo

__all__ = ["OTHER_LABEL_RATE", "Fit", "Misfit", "RowEnds", "Words", "checked", "fits_json"]

TOLERANCE_SECONDS = 1.0
"""What rows may differ by without a word, or a row's length if that is more: annotators and
containers round, and a video's last window may not be whole."""
MOST_MISFITS = 0.5
"""Share; with more, times and videos do not belong together."""
NUM_NAMED = 5

OTHER_LABEL_RATE = (
    "frame labels at another rate (--set train.tasks.action_segmentation.label_fps=30, if that is "
    "theirs)"
)
"""What may be wrong with labels that are one line a frame, and how it is put right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Misfit:
    """One case: what is annotated of a video, and when its rows end."""

    video: str
    """As the annotations name it."""
    seconds: float
    rows_end_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """How a kind of case is spoken of."""

    name: Literal["record_ends", "durations"]
    """Key of the kind in JSON."""
    cases: str
    """Key of how many there are."""
    misfits: str
    """Key of how many do not fit."""
    seconds: str
    """Key of ``Misfit.seconds``."""
    claim: str
    """What does not fit: "annotated records end behind ..."."""
    example: str
    """With ``{seconds}`` and ``{rows_end}``, behind the video's name."""
    if_few: str
    """Sentence that follows where training goes on."""
    if_many: str
    """Sentence that follows where it does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The cases of a task, and those that do not fit."""

    words: ClassVar[Words]

    task: str
    num_cases: int = 0
    """In videos that the stream holds."""
    num_misfits: int = 0
    first: list[Misfit] = field(default_factory=list)
    """A few of them, in the order of the samples."""

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        words = self.words
        first = [
            {
                "video": one.video,
                words.seconds: one.seconds,
                "rows_end_seconds": one.rows_end_seconds,
            }
            for one in self.first
        ]
        return {words.cases: self.num_cases, words.misfits: self.num_misfits, "first": first}

    def text(self) -> str:
        """Return the count and the first ones for a reader."""
        named = ", ".join(
            f"{one.video} "
            + self.words.example.format(
                seconds=f"{one.seconds:g} s", rows_end=f"{one.rows_end_seconds:g} s"
            )
            for one in self.first
        )
        more = ", ..." if self.num_misfits > len(self.first) else ""
        return (
            f"{self.task}: {self.num_misfits} of {self.num_cases} {self.words.claim}: {named}{more}"
        )


class RowEnds:
    """When the rows of a stream's videos end; many samples may share a video."""

    def __init__(self, stream: Stream) -> None:
        self._of = lru_cache(maxsize=64)(lambda video_id: _rows_end(stream.times(video_id)))

    def of(self, video: FoundVideo) -> tuple[float, float]:
        """Return the end of a video's last row, and what may lie behind it, in seconds."""
        end, tolerance = self._of(video.id)
        return video.starts_at_seconds + end, tolerance


def _rows_end(times_R2: NDArray[np.float64]) -> tuple[float, float]:
    longest = float((times_R2[:, 1] - times_R2[:, 0]).max(initial=0.0))
    return float(times_R2[:, 1].max(initial=0.0)), max(TOLERANCE_SECONDS, longest)


OneFit = TypeVar("OneFit", bound=Fit)


def checked(kind: type[OneFit], task: str, num_cases: int, misfits: Sequence[Misfit]) -> OneFit:
    """Return the count of a task's cases.

    Raises:
        AnnotationError: if more than half do not fit.
    """
    fit = kind(
        task=task, num_cases=num_cases, num_misfits=len(misfits), first=list(misfits[:NUM_NAMED])
    )
    if fit.num_misfits > MOST_MISFITS * num_cases:
        raise AnnotationError(f"{fit.text()}. {kind.words.if_many}")
    return fit


def fits_json(fits: Iterable[Fit]) -> Mapping[str, Mapping[str, object]]:
    """Return kind -> task -> plain values."""
    found: dict[str, dict[str, object]] = {"record_ends": {}, "durations": {}}
    for one in fits:
        found[one.words.name][one.task] = one.to_json()
    return found
