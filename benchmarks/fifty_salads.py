"""Action segmentation on 50Salads scores: five official folds, one pooled table.

Input: a folder of ``<video>.npz`` with per-second classifier scores ``features`` (T, 18) and
``labels`` (T,), ``classes.json`` and ``manifest.csv`` with each video's test fold (colincsl/
TemporalConvolutionalNetworks, MIT). Everything runs through the project's own commands:

    python benchmarks/fifty_salads.py prepare SCORES OUT          # store + Breakfast-format labels
    python benchmarks/fifty_salads.py train OUT --variant llm     # five runs of vllm-train
    python benchmarks/fifty_salads.py score OUT                   # all runs beside each other

Scores are pooled over the 50 test videos as in the dataset's published baselines: F1 counts are
summed over all videos, Edit and Acc_video_mean are means over videos, background is left out of
F1 and Edit.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np

FOLDS = range(1, 6)
POOLED = 6
"""Number of the extra test split that holds every video."""

VARIANTS = {
    "llm": [],
    "random_llm": ["--set", "train.llm.weights=random"],
    "no_llm": ["--llm", "none"],
}

RECIPE = """\
[train]
task = "action_segmentation"
tuning = "lora:16"

[train.llm]
num_layers = 2

[train.translator]
pool_rows = 2
token_rms = 1.0

[train.data]
window_rows = 128
context_rows = 64
selection = "last"

[train.augment]
noise_std = 0.3
feature_dropout = 0.1
state_dropout = 0.3

[train.optim]
lr = 0.002
llm_lr = 0.005
warmup_fraction = 0.05
epochs = 6
batch_size = 3

[train.tasks.action_segmentation]
label_fps = "1"
smoothing_weight = 1.0
next_weight = 0.5
decoder = "two_head"
"""


def run(*command: str) -> str:
    """Run one of the project's commands from this environment; return what it printed."""
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout


@click.group()
def main() -> None:
    """Reproduce the 50Salads table of docs/results.md."""


@main.command()
@click.argument("scores", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
def prepare(scores: Path, out: Path) -> None:
    """Write OUT/npy, OUT/labels (Breakfast format), OUT/recipe.toml and import OUT/feats.zarr."""
    (out / "npy").mkdir(parents=True, exist_ok=True)
    (out / "labels" / "groundTruth").mkdir(parents=True, exist_ok=True)
    (out / "labels" / "splits").mkdir(exist_ok=True)
    names = json.loads((scores / "classes.json").read_text())
    mapping = [f"{number} {name}\n" for number, name in enumerate(names)]
    (out / "labels" / "mapping.txt").write_text("".join(mapping))
    with (scores / "manifest.csv").open() as file:
        folds = {row["video"]: int(row["test_split"]) for row in csv.DictReader(file)}
    for video in folds:
        data = np.load(scores / f"{video}.npz", allow_pickle=False)
        np.save(out / "npy" / f"{video}.npy", data["features"])
        lines = "".join(f"{names[label]}\n" for label in data["labels"])
        (out / "labels" / "groundTruth" / f"{video}.txt").write_text(lines)
    for fold in (*FOLDS, POOLED):
        test = [video for video in folds if fold in (folds[video], POOLED)]
        train = [video for video in folds if fold == POOLED or folds[video] != fold]
        for name, videos in (("test", test), ("train", train)):
            bundle = out / "labels" / "splits" / f"{name}.split{fold}.bundle"
            bundle.write_text("".join(f"{video}.txt\n" for video in videos))
    (out / "recipe.toml").write_text(RECIPE)
    store = str(out / "feats.zarr")
    run("vllm-store", "import", str(out / "npy"), store, "--stream", "scores", "--dtype", "float32",
        "--fps", "1", "--window", "1", "--stride", "1")  # fmt: skip


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--variant", type=click.Choice(sorted(VARIANTS)), default="llm")
@click.option("--seed", default=0)
@click.option("--name", help="Name of the runs; default: variant and seed.")
@click.argument("settings", nargs=-1)
def train(out: Path, variant: str, seed: int, name: str | None, settings: tuple[str, ...]) -> None:
    """Train the five folds; SETTINGS are passed on to vllm-train."""
    for fold in FOLDS:
        folder = out / "runs" / (name or f"{variant}-seed{seed}") / f"fold{fold}"
        if (folder / "checkpoint-best").exists():
            continue
        run("vllm-train", "--config", str(out / "recipe.toml"), "--features",
            str(out / "feats.zarr"), "--annotations", str(out / "labels"), "--out", str(folder),
            "--seed", str(seed), "--set", f"train.tasks.action_segmentation.split={fold}",
            *VARIANTS[variant], *settings)  # fmt: skip


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.argument("name")
@click.argument("runs", nargs=-1, required=True)
@click.option("--option", "options", multiple=True, help="Passed on to vllm-predict.")
def predict(out: Path, name: str, runs: tuple[str, ...], options: tuple[str, ...]) -> None:
    """Let RUNS decide together (or one decide with other options); store it as the run NAME."""
    for fold in FOLDS:
        folders = [str(out / "runs" / run_name / f"fold{fold}") for run_name in runs]
        target = out / "runs" / name / f"fold{fold}" / "predictions" / "val" / "action_segmentation"
        more = [text for option in options for text in ("--option", option)]
        run("vllm-predict", *folders, "--features", str(out / "feats.zarr"), "--subset", "val",
            "--out", str(target), *more)  # fmt: skip


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def score(out: Path) -> None:
    """Pool each run's five folds and print the official numbers of all 50 test videos."""
    (out / "pooled.json").write_text(json.dumps({"split": POOLED, "label_fps": "1"}))
    keys = ["Acc_video_mean", "Acc", "Edit", "F1@0.10", "F1@0.25", "F1@0.50"]
    click.echo("".join(["run".ljust(28), *(key.rjust(16) for key in keys)]))
    for folder in sorted((out / "runs").iterdir()):
        pooled = out / "pooled" / folder.name
        pooled.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("fold*/predictions/val/action_segmentation/*.txt"):
            (pooled / path.name).write_text(path.read_text())
        if len(list(pooled.iterdir())) < 50:
            continue
        printed = run("vllm-score", "--task", "action_segmentation", "--annotations",
                      str(out / "labels"), "--predictions", str(pooled), "--options",
                      str(out / "pooled.json"), "--json")  # fmt: skip
        scores = json.loads(printed)
        line = "".join(f"{scores[key]:16.1f}" for key in keys)
        click.echo(folder.name.ljust(28) + line)


if __name__ == "__main__":
    main()
