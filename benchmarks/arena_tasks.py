"""The arena for other tasks: on 50Salads scores with its five folds, and on the demo set.

What stands between translator and head, and what is drawn for it, is that of
``benchmarks/fifty_salads.py``. What is kept is what had the least loss, a measure that every task
has (but for action segmentation, which judges itself), on training videos that the run did not see:
those of the next fold; where there is one fold, a fifth.

    python benchmarks/fifty_salads.py prepare SCORES OUT         # the store, OUT/recipe.toml
    python benchmarks/arena_tasks.py prepare SCORES OUT          # OUT/tasks/fold<N>.jsonl
    python benchmarks/arena_tasks.py prepare-demo DEMO OUT       # or the folder of make demo
    python benchmarks/arena_tasks.py search OUT --task moment_query --variant gru
    python benchmarks/arena_tasks.py train OUT --task moment_query --variant gru --seed 0
    python benchmarks/arena_tasks.py table OUT                   # means over folds, then over seeds
    python benchmarks/arena_tasks.py compare OUT --task moment_query llm gru   # paired, over videos

The labels of 50Salads become one file of our own annotation format per fold; an action segment is
an action and a moment.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # it may be called by its path, too

from benchmarks.arena_bootstrap import paired, show_differences
from benchmarks.arena_splits import INNER, splits_of
from benchmarks.arena_task_videos import ByVideo, as_video_scores, scores_by_video
from benchmarks.arena_variants import VARIANTS, draw, overrides_of, plain, save_scratch_llm
from benchmarks.fifty_salads import read_folds
from cache_schema.settings import load_settings
from train import run as training
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import BEST
from train.config import TrainConfig

METRICS = {
    "online_action_detection": ["overall_action_mt5r", "mAP"],
    "action_anticipation": ["overall_action_mt5r"],
    "action_segmentation": ["F1@0.25", "Edit", "Acc"],
    "long_term_anticipation": ["val_0_ED_7", "val_0_AUED", "action_ED_20", "verb_ED_20"],
    "moment_query": ["average_mAP", "Recall@1x_tIoU=0.5"],
}
"""Those that a set lacks are left out of its table."""

OF_SALADS = ["train.tasks={long_term_anticipation={num_future_actions=8}}"]
"""Instead of the options of action segmentation in the recipe."""

OF_TASK: Mapping[str, Sequence[str]] = {
    # A moment is found from the whole video, which is up to 600 rows long; the demo's is shorter.
    "moment_query": ["train.data.window_rows=640", "train.optim.epochs=30"],
}
HELD_OUT = [
    "train.data.selection=holdout",
    "train.evaluate_every=1000 epochs",  # only at the end: the last epoch is what will be used
]


@dataclass(frozen=True, kw_only=True)
class Set:
    """One set's features and labels."""

    store: str
    recipe: str | None
    overrides: Sequence[str]
    folds: Mapping[str, str]
    """Fold -> annotations; ``{task}`` in it stands for the task's name."""
    held_out: Mapping[str, str]
    """Fold -> file with the training videos that a search keeps out; without one it is a fifth."""

    @classmethod
    def read(cls, out: Path) -> "Set":
        """Read what ``prepare`` wrote."""
        return cls(**json.loads((out / "tasks" / "set.json").read_text()))

    def write(self, out: Path) -> None:
        """Say where everything lies."""
        (out / "tasks" / "set.json").write_text(json.dumps(asdict(self), indent=1))


@click.group()
def main() -> None:
    """Compare what may stand where the LLM does, task by task."""


@main.command()
@click.argument("scores", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def prepare(scores: Path, out: Path) -> None:
    """Write one annotation file per fold of a folder of scores."""
    (out / "tasks").mkdir(exist_ok=True)
    names = json.loads((scores / "classes.json").read_text())
    folds = read_folds(scores)
    splits = splits_of(folds)
    labels = {
        video: np.load(scores / f"{video}.npz", allow_pickle=False)["labels"] for video in folds
    }
    written, held_out = {}, {}
    for fold in sorted(set(folds.values())):
        lines = [
            {
                "video": video,
                "subset": "val" if folds[video] == fold else "train",
                "duration": len(labels[video]),
                "actions": list(segments(labels[video], names)),
                "moments": list(segments(labels[video], names)),
            }
            for video in folds
        ]
        path = out / "tasks" / f"fold{fold}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        written[str(fold)] = str(path)
        held = out / "tasks" / f"fold{fold}-held-out.txt"
        held.write_text("".join(f"{video}\n" for video in splits[INNER + fold][1]))
        held_out[str(fold)] = str(held)
    store, recipe = str(out / "feats.zarr"), str(out / "recipe.toml")
    Set(store=store, recipe=recipe, overrides=OF_SALADS, folds=written, held_out=held_out).write(
        out
    )


def segments(labels: np.ndarray, names: list[str]) -> Iterator[dict[str, object]]:
    """Yield the runs of equal labels, one label a second; class 0 is background."""
    start = 0
    for label, group in groupby(labels.tolist()):
        end = start + len(list(group))
        if label:
            yield {"start": start, "end": end, "label": names[label]}
        start = end


@main.command("prepare-demo")
@click.argument("demo", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
def prepare_demo(demo: Path, out: Path) -> None:
    """Use the features and official annotations of the folder that ``make demo`` made."""
    (out / "tasks").mkdir(parents=True, exist_ok=True)
    save_scratch_llm(out)
    labels = {"1": str(demo / "set" / "annotations" / "{task}")}
    store = str(demo / "feats.zarr")
    Set(store=store, recipe=None, overrides=[], folds=labels, held_out={}).write(out)


def train_once(
    out: Path, folder: Path, task: str, fold: str, seed: int, overrides: Sequence[str]
) -> None:
    """Train one run of a fold, if it is not there yet."""
    if (folder / "report.json").exists():
        return
    arena = Set.read(out)
    config = load_settings(
        TrainConfig,
        "train",
        config_path=Path(arena.recipe) if arena.recipe else None,
        overrides=[*arena.overrides, *overrides, *OF_TASK.get(task, [])],
        flags={
            "task": task,
            "annotations": arena.folds[fold].format(task=task),
            "features": arena.store,
            "out": str(folder),
            "seed": seed,
        },
    )
    report = training.train(config, resume=True)
    assert report is not None, "one process trains"
    (folder / "report.json").write_text(json.dumps(report.to_json()))


def settings_of(task: str, variant: str, number: int) -> dict[str, object]:
    """Return a draw without what is another task's."""
    others = [f"train.tasks.{one}." for one in METRICS if one != task]
    drawn = draw(variant, number)
    return {key: value for key, value in drawn.items() if not key.startswith(tuple(others))}


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--task", type=click.Choice(sorted(METRICS)), required=True)
@click.option("--variant", type=click.Choice(VARIANTS), required=True)
@click.option("--budget", default=4, show_default=True, help="Settings that are tried.")
@click.option("--with-plain", is_flag=True, help="Also try those of the plain command.")
def search(out: Path, task: str, variant: str, budget: int, with_plain: bool) -> None:
    """Try settings on held-out training videos of each fold, and keep the best of each."""
    arena = Set.read(out)
    tried = {str(number): settings_of(task, variant, number) for number in range(budget)}
    if with_plain:
        tried["plain"] = plain(variant)
    for fold in arena.folds:
        kept_out = [f"train.data.holdout_videos={arena.held_out.get(fold, '')}", *HELD_OUT]
        values = {}
        for name, settings in tried.items():
            folder = out / "tasks" / "search" / task / variant / f"fold{fold}" / name
            overrides = overrides_of(variant, out, settings)
            train_once(out, folder, task, fold, 0, [*overrides, *kept_out])
            value = read_checkpoint(folder / BEST)[0].progress.best_value
            values[name] = -np.inf if value is None else value
        best = max(values, key=lambda name: values[name])
        click.echo(f"{task} {variant} fold {fold}: {best}, {values[best]:.4f} on held-out videos")
        found = out / "tasks" / "search" / task / variant / f"fold{fold}.json"
        found.write_text(json.dumps(tried[best], indent=1))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--task", type=click.Choice(sorted(METRICS)), required=True)
@click.option("--variant", type=click.Choice(VARIANTS), default="llm")
@click.option("--seed", default=0)
@click.argument("settings", nargs=-1)
def train(out: Path, task: str, variant: str, seed: int, settings: tuple[str, ...]) -> None:
    """Train every fold with what was found for it; SETTINGS such as train.optim.epochs=4."""
    for fold in Set.read(out).folds:
        found = out / "tasks" / "search" / task / variant / f"fold{fold}.json"
        chosen = json.loads(found.read_text()) if found.exists() else {}
        folder = out / "tasks" / "runs" / task / f"{variant}-seed{seed}" / f"fold{fold}"
        overrides = [*overrides_of(variant, out, chosen), "train.data.selection=last", *settings]
        train_once(out, folder, task, fold, seed, overrides)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def table(out: Path) -> None:
    """Print the mean over the folds of every finished run and of the baselines, and over seeds."""
    for task, metrics in METRICS.items():
        rows = rows_of(out, task)
        shown = [metric for metric in metrics if any(metric in row for row in rows.values())]
        if not shown:
            continue
        click.echo("".join([task.ljust(32), *(metric.rjust(24) for metric in shown)]))
        for name, row in rows.items():
            click.echo("".join([f"  {name}".ljust(32), *(f"{row[key]:24.4f}" for key in shown)]))
        for variant in VARIANTS:
            seeds = [row for name, row in rows.items() if name.startswith(f"{variant}-seed")]
            if len(seeds) > 1:
                values = [[one[key] for one in seeds] for key in shown]
                cells = [f"{mean(one):.4f} ± {stdev(one):.4f}".rjust(24) for one in values]
                click.echo("".join([f"  {variant}, {len(seeds)} seeds".ljust(32), *cells]))


def rows_of(out: Path, task: str) -> dict[str, dict[str, float]]:
    """Return run, or baseline in brackets -> metric -> mean over the folds."""
    num_folds = len(Set.read(out).folds)
    rows: dict[str, dict[str, float]] = {}
    for run in sorted((out / "tasks" / "runs" / task).glob("*")):
        reports = [json.loads(path.read_text()) for path in run.glob("fold*/report.json")]
        if len(reports) == num_folds:
            rows[run.name] = mean_scores([one["metrics"] for one in reports])
            for name in reports[0]["baselines"]:
                scores = [one["baselines"][name] for one in reports]
                rows[f"({name})"] = mean_scores(scores)
    return rows


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--task", type=click.Choice(sorted(METRICS)), required=True)
@click.argument("first", type=click.Choice(VARIANTS))
@click.argument("second", type=click.Choice(VARIANTS))
def compare(out: Path, task: str, first: str, second: str) -> None:
    """Print FIRST less SECOND with 95 % intervals over the drawn test videos.

    Both are means over seeds and videos of the scores that each video has by itself. Of the demo
    set there are none: the official formats that it has are not cut into videos here.
    """
    of_first, of_second = (by_video_of(out, task, variant) for variant in (first, second))
    metrics = [key for key in METRICS[task] if any(key in one for one in of_first[0].values())]
    videos = sorted(of_first[0])
    found = paired(
        [as_video_scores(run, metrics) for run in of_first],
        [as_video_scores(run, metrics) for run in of_second],
        videos,
    )
    show_differences(dict(zip(metrics, found, strict=True)), decimals=4)


def by_video_of(out: Path, task: str, variant: str) -> list[ByVideo]:
    """Return the scores of all folds' test videos, of each seed."""
    arena = Set.read(out)
    runs = sorted((out / "tasks" / "runs" / task).glob(f"{variant}-seed*"))
    if not runs:
        raise click.ClickException(f"{variant} has no run of {task} yet: train it first")
    return [
        {
            video: scores
            for fold, annotations in arena.folds.items()
            for video, scores in scores_by_video(
                run / f"fold{fold}", Path(annotations), arena.store
            ).items()
        }
        for run in runs
    ]


def mean_scores(folds: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the means of what is defined in every fold."""
    values = {key: [fold[key] for fold in folds] for key in folds[0]}
    defined = {key: [one for one in own if one is not None] for key, own in values.items()}
    return {key: mean(own) for key, own in defined.items() if len(own) == len(folds)}


if __name__ == "__main__":
    main()
