"""Four more tasks on 50Salads scores: five official folds, with baselines in the same table.

Input: the folder that ``fifty_salads.py`` reads, and the store and the recipe it prepares. The
labels become one file of our own annotation format per fold; an action segment is an action and a
moment.

    python benchmarks/fifty_salads.py prepare SCORES OUT          # the store, OUT/recipe.toml
    python benchmarks/fifty_salads_tasks.py prepare SCORES OUT    # OUT/tasks/fold<N>.jsonl
    python benchmarks/fifty_salads_tasks.py train OUT --task action_anticipation --variant llm
    python benchmarks/fifty_salads_tasks.py table OUT             # means over the folds

Variant ``gru`` puts a GRU (1 layer, 64 units) where the LLM stands: samples, targets, head, loss
and decoding stay the same.
"""

import csv
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click
import numpy as np

from cache_schema.settings import load_settings
from train import run as training
from train.config import TrainConfig

FOLDS = range(1, 6)

METRICS = {
    "online_action_detection": ["overall_action_mt5r", "mAP"],
    "action_anticipation": ["overall_action_mt5r"],
    "long_term_anticipation": ["val_0_ED_7", "val_0_AUED"],
    "moment_query": ["average_mAP", "Recall@1x_tIoU=0.5"],
}

OVERRIDES = [
    "train.translator.pool_rows=1",
    "train.tasks={long_term_anticipation={num_future_actions=8}}",
]
"""What differs from the recipe of action segmentation, whose own options are left out."""

OF_TASK = {
    # A moment is found from the whole video, which is up to 600 rows long.
    "moment_query": ["train.data.window_rows=640", "train.optim.epochs=30"],
}

VARIANTS = {
    "llm": [],
    "random_llm": ["train.llm.weights=random"],
    "gru": [
        *("train.llm.name=gru", "train.llm.width=64", "train.llm.num_layers=1"),
        *("train.optim.lr=0.01", "train.optim.llm_lr=0.01", "train.tuning=basic"),
    ],
}


@click.group()
def main() -> None:
    """Reproduce the table of four tasks on 50Salads in docs/results.md."""


@main.command()
@click.argument("scores", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def prepare(scores: Path, out: Path) -> None:
    """Write one annotation file per fold."""
    (out / "tasks").mkdir(exist_ok=True)
    names = json.loads((scores / "classes.json").read_text())
    with (scores / "manifest.csv").open() as file:
        folds = {row["video"]: int(row["test_split"]) for row in csv.DictReader(file)}
    labels = {
        video: np.load(scores / f"{video}.npz", allow_pickle=False)["labels"] for video in folds
    }
    for fold in FOLDS:
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
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (out / "tasks" / f"fold{fold}.jsonl").write_text(text)


def segments(labels: np.ndarray, names: list[str]) -> Iterator[dict[str, object]]:
    """Yield the runs of equal labels, one label a second; class 0 is background."""
    start = 0
    for label, group in groupby(labels.tolist()):
        end = start + len(list(group))
        if label:
            yield {"start": start, "end": end, "label": names[label]}
        start = end


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--task", type=click.Choice(sorted(METRICS)), required=True)
@click.option("--variant", type=click.Choice(sorted(VARIANTS)), default="llm")
@click.option("--seed", default=0)
@click.argument("settings", nargs=-1)
def train(out: Path, task: str, variant: str, seed: int, settings: tuple[str, ...]) -> None:
    """Train the five folds of one task; SETTINGS are overrides such as train.optim.epochs=4."""
    for fold in FOLDS:
        folder = out / "tasks" / "runs" / task / f"{variant}-seed{seed}" / f"fold{fold}"
        if (folder / "report.json").exists():
            continue
        overrides = [*OVERRIDES, *OF_TASK.get(task, []), *VARIANTS[variant], *settings]
        flags = {
            "task": task,
            "annotations": str(out / "tasks" / f"fold{fold}.jsonl"),
            "features": str(out / "feats.zarr"),
            "out": str(folder),
            "seed": seed,
        }
        config = load_settings(
            TrainConfig, "train", config_path=out / "recipe.toml", overrides=overrides, flags=flags
        )
        report = training.train(config, resume=True)
        (folder / "report.json").write_text(json.dumps(report.to_json()))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def table(out: Path) -> None:
    """Print the mean over the folds of every finished run, and of the baselines."""
    for task, metrics in METRICS.items():
        click.echo("".join([task.ljust(40), *(metric.rjust(24) for metric in metrics)]))
        rows: dict[str, list[dict[str, float]]] = {}
        for run in sorted((out / "tasks" / "runs" / task).glob("*")):
            reports = [json.loads(path.read_text()) for path in run.glob("fold*/report.json")]
            if len(reports) == len(FOLDS):
                rows[run.name] = [report["metrics"] for report in reports]
                for name in reports[0]["baselines"]:
                    rows[f"({name})"] = [report["baselines"][name] for report in reports]
        for name, folds in rows.items():
            means = [np.mean([fold[metric] for fold in folds]) for metric in metrics]
            click.echo("".join([f"  {name}".ljust(40), *(f"{mean:24.4f}" for mean in means)]))


if __name__ == "__main__":
    main()
