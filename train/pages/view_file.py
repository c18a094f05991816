"""Views of many videos on disk: written one by one, read back video by video."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cache_schema.errors import CheckpointError
from cache_schema.parsing import parse, to_json
from cache_schema.writing.closing import ClosedOnExit
from train.checkpoints.result import REPORT
from train.pages.view import ClassTally, Confusion, VideoView, joined, tallied

__all__ = ["Summary", "ViewFile", "ViewWriter", "Views", "read_views", "summed", "views_path"]


class ViewWriter(ClosedOnExit):
    """Write views as lines of JSON; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w", encoding="utf-8")

    def write(self, view: VideoView) -> None:
        """Add a view: of a video, or of a stretch of it or a query about it."""
        self._file.write(to_json(view) + "\n")

    def finish(self) -> "ViewFile":
        """Return what was written, to be read; nothing can be added any more."""
        self.close()
        return ViewFile(self._path)

    def close(self) -> None:
        """End the file."""
        self._file.close()


class ViewFile:
    """Views that were written, by video; only those that are looked at are in memory.

    Raises:
        CheckpointError: when a line is read that is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[str, list[int]] = {}
        with path.open("rb") as file:
            offset = 0
            for line in file:
                self._offsets.setdefault(self._view(line).video, []).append(offset)
                offset += len(line)

    @property
    def videos(self) -> list[str]:
        """The videos, in the order in which they were first written."""
        return list(self._offsets)

    def __iter__(self) -> Iterator[VideoView]:
        return map(self.view, self._offsets)

    def view(self, video: str) -> VideoView:
        """Return the view of a video, of all its stretches and queries."""
        with self.path.open("rb") as file:
            views = []
            for offset in self._offsets[video]:
                file.seek(offset)
                views.append(self._view(file.readline()))
        return joined(views)

    def _view(self, line: bytes) -> VideoView:
        return parse(VideoView, line, where=str(self.path), error=CheckpointError)


def views_path(run: Path, task: str) -> Path:
    """Return where the views of a task lie in the folder of a run."""
    return run / REPORT / f"{task}.views.jsonl"


def read_views(run: Path, task: str) -> ViewFile | None:
    """Return the views of a run, None if it has none.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = views_path(run, task)
    return ViewFile(path) if path.exists() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a table tells of a video."""

    video: str
    duration: float
    num_said: int
    num_wrong: int
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """What all views together say."""

    summaries: list[Summary]
    labels: list[str]
    """Every class, in a stable order."""
    tallies: list[ClassTally]
    confusions: list[Confusion]
    unit: str
    judged: float
    right: float

    @property
    def score(self) -> float | None:
        """Share of all that could be judged that is right."""
        return self.right / self.judged if self.judged else None


def summed(views: ViewFile) -> Views:
    """Go through all views once, and keep what tables and plots over all of them need."""
    summaries: list[Summary] = []
    labels: dict[str, None] = {}
    tallies: list[ClassTally] = []
    amounts: dict[tuple[str, str], float] = {}
    unit, judged, right = "", 0.0, 0.0
    for view in views:
        summaries.append(
            Summary(
                video=view.video,
                duration=view.duration,
                num_said=view.num_said,
                num_wrong=view.num_wrong,
                score=view.score,
            )
        )
        labels |= dict.fromkeys(_labels(view))
        tallies += view.tallies
        for one in view.confusions:
            pair = (one.truth, one.said)
            amounts[pair] = amounts.get(pair, 0.0) + one.amount
        unit, judged, right = unit or view.unit, judged + view.judged, right + view.right
    return Views(
        summaries=summaries,
        labels=sorted(labels),
        tallies=list(tallied(tallies)),
        confusions=[
            Confusion(truth=truth, said=said, amount=amount)
            for (truth, said), amount in amounts.items()
        ],
        unit=unit,
        judged=judged,
        right=right,
    )


def _labels(view: VideoView) -> Iterator[str]:
    for lane in view.lanes:
        if not lane.is_text and lane.kind != "errors":
            yield from (mark.label for mark in lane.marks)
