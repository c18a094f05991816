"""The page of one run, or of several side by side."""

from collections.abc import Sequence
from pathlib import Path

from cache_schema.page.document import Page, duration, number, write_page
from train.checkpoints.result import PAGE
from train.pages.cost import ExtractionTotal, TrainingCost, cache_uses, training_cost
from train.pages.curves import learning_curves
from train.pages.payback import FORMULA
from train.pages.predictions_page import PLAYER, curve_chart
from train.pages.run_facts import RunFacts, read_runs
from train.pages.score_table import score_tables
from train.pages.settings_table import all_settings, changed_settings, features_and_networks
from train.pages.shown_videos import ShownVideos, class_sections, subset_views

__all__ = ["leave_page", "run_facts_json", "run_page"]

HEAD = ("run", "task", "main metric", "best epoch", "date", "state")
JOULES_PER_KWH = 3.6e6


def leave_page(folder: Path) -> Path:
    """Write the page of one run into its folder, and return where."""
    path = folder / PAGE
    write_page(run_page(read_runs([folder]), path), path)
    return path


def run_page(runs: Sequence[RunFacts], path: Path) -> Page:
    """Return the page of one run or several.

    Args:
        runs: In the order of the page's columns and colours.
        path: Where it will lie.

    Raises:
        CheckpointError: if what a run has kept of its videos is damaged.
    """
    views = subset_views(runs)
    videos = ShownVideos(views, path) if views else None
    heads = [_head(run) for run in runs]
    return Page(
        title=f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs",
        package="train.pages",
        template="run.html.j2",
        has_charts=True,
        styles=["player.css", "run.css"],
        scripts=PLAYER if videos is not None else (),
        values={
            "runs": runs,
            "heads": heads,
            "head_columns": HEAD,
            "head_facts": list(zip(HEAD[1:], heads[0][1:], strict=True)),
            "num_tasks": len({task for run in runs for task in run.tasks}),
            "score_tables": score_tables(runs),
            "curves": learning_curves(runs),
            "classes": class_sections(views),
            "videos": videos,
            "curve_chart": curve_chart(),
            "changed": changed_settings(runs),
            "all_settings": all_settings(runs),
            "features": features_and_networks(runs),
            "training": [_cost_line(*fact) for fact in _training_facts(runs)],
            "caches": [(use, _extraction_facts(use.extraction)) for use in cache_uses(runs)],
            "formula": FORMULA,
        },
    )


def run_facts_json(runs: Sequence[RunFacts]) -> dict[str, object]:
    """Return the facts of the page as plain values."""
    return {
        "runs": [_json(run) for run in runs],
        "caches": [use.to_json() for use in cache_uses(runs)],
    }


def _json(run: RunFacts) -> dict[str, object]:
    return {
        "run": run.name,
        "folder": str(run.folder),
        "finished": run.result.finished if run.result else None,
        "tasks": list(run.tasks),
        "main_metrics": {task: run.main_metric(task) for task in run.tasks},
        "scores": run.scores,
        "baselines": run.baselines,
        "best_epoch": run.progress.best_epoch,
        "best_step": run.best_step,
        "missing_videos": list(run.result.missing_videos) if run.result else [],
        "record_ends": list(run.result.record_ends) if run.result else [],
        "recipe": run.checkpoint.recipe.fingerprint if run.checkpoint else None,
        "cost": training_cost(run).to_json(),
    }


def _head(run: RunFacts) -> tuple[str, ...]:
    """Return a line of the table of runs."""
    mains = ((task, run.main_metric(task)) for task in run.tasks)
    scores = [
        f"{metric} {number(run.scores[task].get(metric))}" for task, metric in mains if metric
    ]
    epochs = run.checkpoint.config.optim.epochs if run.checkpoint else "?"
    best = run.progress.best_epoch
    return (
        run.name,
        ", ".join(run.tasks) or "–",
        "; ".join(scores) or "–",
        f"{best:.4g} of {epochs}" if best else "–",
        run.changed.strftime("%Y-%m-%d %H:%M"),
        "finished" if run.result else f"no result yet; {len(run.log.epochs)} of {epochs} epochs",
    )


def _training_facts(runs: Sequence[RunFacts]) -> list[tuple[str, list[str | None]]]:
    """Return (name, value of each run) of what training cost; None where nobody knows."""
    costs = [training_cost(run) for run in runs]
    return [
        ("epochs", [f"{one.epochs:,}" for one in costs]),
        ("steps", [f"{one.steps:,}" for one in costs]),
        ("rows shown (visual tokens)", [f"{one.rows:,}" for one in costs]),
        ("steps took", [duration(one.step_seconds) for one in costs]),
        ("of this, waiting for data", [_percent(one.waiting_share) for one in costs]),
        ("rows per second", [_rounded(one.rows_per_second) for one in costs]),
        ("evaluation of epochs took", [_duration(one.evaluation_seconds) for one in costs]),
        ("an epoch took, with its evaluation", [_duration(one.epoch_seconds) for one in costs]),
        ("start-up took (last turn)", [_duration(one.start_up_seconds) for one in costs]),
        ("scoring the best checkpoint took", [_duration(one.scoring_seconds) for one in costs]),
        ("energy of the epochs (last turn)", [_energy(one.energy_joules) for one in costs]),
        ("machine", [_machine(one) for one in costs]),
    ]


def _extraction_facts(total: ExtractionTotal) -> list[tuple[str, str]]:
    facts = [
        ("video-hours decoded, once", f"{total.video_seconds / 3600:,.3g}"),
        ("videos", f"{total.num_videos:,}"),
        ("rows", f"{total.num_rows:,}"),
        ("streams filled", ", ".join(total.streams)),
        ("took", duration(total.wall_seconds)),
        *((f"busy: {stage}", duration(value)) for stage, value in total.busy_seconds.items()),
        ("device", "; ".join(total.devices)),
    ]
    if (energy := _energy(total.energy_joules)) is not None:
        facts.append(("energy", energy))
    return facts


def _energy(joules: float | None) -> str | None:
    return None if joules is None else f"{joules / JOULES_PER_KWH:,.3g} kWh"


def _cost_line(name: str, values: Sequence[str | None]) -> tuple[str, ...]:
    return (name, *("not known here" if value is None else value for value in values))


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _machine(cost: TrainingCost) -> str | None:
    if cost.device is None or cost.num_processes is None:
        return None
    plural = "es" if cost.num_processes > 1 else ""
    return f"{cost.device}, {cost.num_processes} process{plural}"
