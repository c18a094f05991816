"""What runs said of their validation videos: classes, what was taken for what, best and worst."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from train.pages.media import Media, MediaShelf
from train.pages.predictions_page import (
    Columns,
    class_table,
    confusion_chart,
    view_block,
)
from train.pages.run_facts import RunFacts
from train.pages.run_store import RunStore, store_of
from train.pages.view import MEASURES, VideoView
from train.pages.view_file import Summary, ViewFile, Views, read_views, summed

__all__ = ["ClassSection", "ShownVideos", "SubsetViews", "class_sections", "subset_views"]

NUM_BEST = 5
NUM_WORST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetViews:
    """One run on the validation subset of one task."""

    run: RunFacts
    task: str
    file: ViewFile
    total: Views

    @property
    def best_and_worst(self) -> list[Summary]:
        """A few videos, the best first; of those that nothing is known of, the first ones."""
        judged = [one for one in self.total.summaries if one.score is not None]
        if not judged:
            return self.total.summaries[: NUM_BEST + NUM_WORST]
        ordered = sorted(judged, key=lambda one: -(one.score or 0.0))
        return [*ordered[:NUM_BEST], *ordered[NUM_BEST:][-NUM_WORST:]]


def subset_views(runs: Sequence[RunFacts]) -> list[SubsetViews]:
    """Return what runs have kept of their validation videos.

    Raises:
        CheckpointError: if a file of views is damaged.
    """
    return [
        SubsetViews(run=run, task=task, file=file, total=summed(file))
        for run in runs
        for task in run.tasks
        if (file := read_views(run.folder, task)) is not None
    ]


# --- classes -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSection:
    """The classes of one task."""

    task: str
    caption: str
    columns: Columns
    rows: list[list[object]]
    confusions: list[tuple[str, str]]
    """Chart and caption of each run."""


def class_sections(views: Sequence[SubsetViews]) -> list[ClassSection]:
    """Return a section for each task whose outputs are classes."""
    by_task: dict[str, list[SubsetViews]] = {}
    for one in views:
        if one.total.tallies:
            by_task.setdefault(one.task, []).append(one)
    return [_class_section(task, own) for task, own in by_task.items()]


def _class_section(task: str, views: Sequence[SubsetViews]) -> ClassSection:
    unit = views[0].total.unit
    columns, rows = class_table(views[0].total.tallies, unit)
    if len(views) > 1:
        columns, rows = _side_by_side(views)
    charts = [(confusion_chart(one.total.confusions), one.run.name) for one in views]
    return ClassSection(
        task=task,
        caption=f"Classes of {task}, in {unit}",
        columns=columns,
        rows=rows,
        confusions=[
            (chart, f"{name}: what was said (across) where something else was true (down)")
            for chart, name in charts
            if chart
        ],
    )


def _side_by_side(views: Sequence[SubsetViews]) -> tuple[Columns, list[list[object]]]:
    """Return how much of each class is annotated, and its F1 by every run."""
    annotated: dict[object, object] = {}
    scores: list[dict[object, object]] = []
    for one in views:
        _, rows = class_table(one.total.tallies, one.total.unit)
        annotated |= {row[0]: row[1] for row in rows if row[0] not in annotated}
        scores.append({row[0]: row[-1] for row in rows})
    heads = [(f"F1 % of {one.run.name}", "number") for one in views]
    columns = (("class", "text"), (f"annotated {views[0].total.unit}", "number"), *heads)
    return columns, [
        [label, amount, *(own.get(label) for own in scores)] for label, amount in annotated.items()
    ]


# --- single videos -------------------------------------------------------------------------------


class ShownVideos:
    """The best and the worst videos of each run, for the viewer of a page."""

    def __init__(self, views: Sequence[SubsetViews], page: Path) -> None:
        """Choose the videos; their views are read while the page is written.

        Args:
            views: Of all runs of the page.
            page: Where it will lie.
        """
        self._chosen = [(one, summary) for one in views for summary in one.best_and_worst]
        self._names_runs = len(views) > 1
        self._shelf = MediaShelf(page)
        self._stores: dict[Path, RunStore | None] = {}
        self.summaries = [
            replace(summary, video=self._name(one, summary.video)) for one, summary in self._chosen
        ]
        self.labels = sorted({label for one in views for label in one.total.labels})
        units = dict.fromkeys(one.total.unit for one in views)
        self.measure = "; ".join(MEASURES[unit] for unit in units if MEASURES[unit])

    def blocks(self) -> Iterator[tuple[str, str]]:
        """Yield what ``player.js`` reads of each video, in the order of the summaries."""
        for one, summary in self._chosen:
            view = one.file.view(summary.video)
            media = self._media(one.run, view)
            named = replace(view, video=self._name(one, view.video))
            yield view_block(named, media)

    def _name(self, one: SubsetViews, video: str) -> str:
        if not self._names_runs:
            return video
        task = f", {one.task}" if len(one.run.tasks) > 1 else ""
        return f"{video} ({one.run.name}{task})"

    def _media(self, run: RunFacts, view: VideoView) -> Media:
        if run.folder not in self._stores:
            self._stores[run.folder] = store_of(run.checkpoint)
        store = self._stores[run.folder]
        if store is None:
            return self._shelf.media(None, view.duration)
        return self._shelf.media_of(view, store.stream, store.path)
