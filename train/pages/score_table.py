"""Official scores of runs beside baselines: a table for each task, the best of a line marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from train.pages.run_facts import RunFacts, Scores

__all__ = ["Cell", "ScoreTable", "score_tables"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One number."""

    value: float | None
    is_best: bool
    """Of its line; of equal ones each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One metric."""

    metric: str
    is_main: bool
    """Whether the task is known by it."""
    lower_is_better: bool
    cells: Sequence[Cell]
    """In the order of the table's columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTable:
    """All numbers of one task."""

    task: str
    columns: Sequence[str]
    """Runs, then baselines."""
    lines: Sequence[Line]
    notes: Sequence[str]
    """What to know before numbers are compared."""


def score_tables(runs: Sequence[RunFacts]) -> list[ScoreTable]:
    """Return a table for each task of any run that has scores of it."""
    tasks = dict.fromkeys(task for run in runs for task in run.tasks)
    tables = [_table(task, [run for run in runs if task in run.tasks]) for task in tasks]
    return [table for table in tables if table.lines]


def _table(task: str, runs: Sequence[RunFacts]) -> ScoreTable:
    columns = {run.name: run.scores[task] for run in runs} | _baselines(task, runs)
    metrics = dict.fromkeys(metric for scores in columns.values() for metric in scores)
    main = {run.main_metric(task) for run in runs}
    return ScoreTable(
        task=task,
        columns=list(columns),
        lines=[
            _line(
                metric,
                [scores.get(metric) for scores in columns.values()],
                is_main=metric in main,
                lower_is_better=any(run.lower_is_better(task, metric) for run in runs),
            )
            for metric in metrics
        ],
        notes=_notes(task, runs),
    )


def _baselines(task: str, runs: Sequence[RunFacts]) -> dict[str, Scores]:
    """Return column -> scores; baselines that runs agree on stand once."""
    own = {run.name: run.baselines[task] for run in runs if run.baselines[task]}
    distinct = [*_distinct(list(own.values()))]
    if len(distinct) == 1:
        return dict(distinct[0])
    return {
        f"{name} of {run}": scores
        for run, by_name in own.items()
        for name, scores in by_name.items()
    }


def _distinct(values: Sequence[Mapping[str, Scores]]) -> list[Mapping[str, Scores]]:
    return [one for place, one in enumerate(values) if one not in values[:place]]


def _line(
    metric: str, values: Sequence[float | None], *, is_main: bool, lower_is_better: bool
) -> Line:
    known = [value for value in values if value is not None]
    best = (min if lower_is_better else max)(known, default=None)
    marks = len(known) > 1  # the only one is not the best of anything
    return Line(
        metric=metric,
        is_main=is_main,
        lower_is_better=lower_is_better,
        cells=[Cell(value=one, is_best=marks and one == best) for one in values],
    )


def _notes(task: str, runs: Sequence[RunFacts]) -> list[str]:
    notes = []
    for run in runs:
        if run.result is None:
            notes.append(_preliminary(run))
        elif run.result.missing_videos:
            missing = ", ".join(run.result.missing_videos[:5])
            more = ", ..." if len(run.result.missing_videos) > 5 else ""
            count = len(run.result.missing_videos)
            notes.append(f"{run.name}: without {count} annotated videos: {missing}{more}.")
        notes += run.result.record_ends if run.result else ()
    places = {_annotations(run, task) for run in runs}
    if len(places) > 1:
        notes.append(
            "The runs name different annotations: "
            f"{', '.join(sorted(places))}. Compare their numbers if these are of the same videos."
        )
    return list(dict.fromkeys(notes))


def _preliminary(run: RunFacts) -> str:
    best = run.progress.best_epoch
    shown = f"scores of its best epoch so far ({best:.4g})" if best else "no scores yet"
    return f"{run.name}: no result in its folder (not finished, or by an earlier version): {shown}."


def _annotations(run: RunFacts, task: str) -> str:
    assert run.checkpoint is not None  # else it would have no tasks
    config = run.checkpoint.config
    return dict(zip(config.task, config.annotations, strict=True))[task]
