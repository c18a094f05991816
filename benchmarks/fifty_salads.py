"""Action segmentation on a folder of per-second scores: an arena for what reads the tokens.

Input: a folder of ``<video>.npz`` with per-second classifier scores ``features`` (T, D) and
``labels`` (T,), ``classes.json`` (the first class is background) and ``manifest.csv`` with each
video's test fold; 50Salads of colincsl/TemporalConvolutionalNetworks (MIT), or any other set of
that layout. Everything runs through the project's own commands:

    python benchmarks/fifty_salads.py prepare SCORES OUT         # store + Breakfast-format labels
    python benchmarks/fifty_salads.py search OUT --variant gru   # settings, in each fold by itself
    python benchmarks/fifty_salads.py train OUT --variant gru    # a run of vllm-train for each fold
    python benchmarks/fifty_salads.py train OUT --variant gru --share 25   # a quarter of the videos
    python benchmarks/fifty_salads.py score OUT                  # all runs beside each other
    python benchmarks/fifty_salads.py compare OUT llm gru        # paired, by bootstrap over videos

``search`` draws settings (``benchmarks/arena_variants.py``) and keeps in each fold those, and the
decoder (``benchmarks/arena_decoders.py``), with the best scores on the next fold's videos, which
are *training* videos that the run did not see. No test video takes part in it. ``train`` takes what
was found; without a search it takes the first draw, whose settings OUT/recipe.toml holds for the
LLM. With ``--share`` it takes what was found with all videos.

Scores are pooled over all test videos as in 50Salads' published baselines: F1 counts are summed
over all videos, Edit and Acc_video_mean are means over videos, background is left out of F1 and
Edit.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # it may be called by its path, too

from benchmarks.arena_bootstrap import difference, show_differences
from benchmarks.arena_decoders import best_decoder
from benchmarks.arena_splits import INNER, SHARES, splits_of
from benchmarks.arena_variants import VARIANTS, draw, flags_of, save_scratch_llm
from train.metrics.segmental import LabelPair, segmental_scores

KEYS = ["Acc_video_mean", "Acc", "Edit", "F1@0.10", "F1@0.25", "F1@0.50"]

RECIPE = """\
[train]
task = "action_segmentation"
tuning = "lora:16"

[train.llm]
num_layers = 2

[train.translator]
pool_rows = 3
token_rms = 1.0

[train.data]
window_rows = 128
context_rows = 64
selection = "last"

[train.augment]
noise_std = 0.6
shift_std = 0.5
feature_dropout = 0.1
state_dropout = 0.5

[train.optim]
lr = 0.004
llm_lr = 0.0025
warmup_fraction = 0.05
epochs = 20
batch_size = 3

[train.tasks.action_segmentation]
label_fps = "1"
smoothing_weight = 1.0
next_weight = 0.5
decoder = "history_filter"
filter_weight = 3.0
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
    """Compare what may stand where the LLM does."""


@main.command()
@click.argument("scores", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
def prepare(scores: Path, out: Path) -> None:
    """Write OUT/npy, OUT/labels (Breakfast format), OUT/recipe.toml and import OUT/feats.zarr."""
    (out / "npy").mkdir(parents=True, exist_ok=True)
    folds = read_folds(scores)
    labels = {}
    for video in folds:
        data = np.load(scores / f"{video}.npz", allow_pickle=False)
        np.save(out / "npy" / f"{video}.npy", data["features"])
        labels[video] = data["labels"]
    write_labels(out, json.loads((scores / "classes.json").read_text()), labels)
    for number, (learned, test) in splits_of(folds).items():
        write_split(out, number, learned, test)
    (out / "folds.json").write_text(json.dumps(folds))
    save_scratch_llm(out)
    (out / "recipe.toml").write_text(RECIPE)
    store = str(out / "feats.zarr")
    run("vllm-store", "import", str(out / "npy"), store, "--stream", "scores", "--dtype", "float32",
        "--fps", "1", "--window", "1", "--stride", "1")  # fmt: skip


def read_folds(scores: Path) -> dict[str, int]:
    """Return the test fold of each video of a folder of scores."""
    with (scores / "manifest.csv").open() as file:
        return {row["video"]: int(row["test_split"]) for row in csv.DictReader(file)}


def write_labels(out: Path, names: Sequence[str], labels: Mapping[str, Iterable[int]]) -> None:
    """Write classes, and the class of each label frame of each video, in Breakfast's format."""
    (out / "labels" / "groundTruth").mkdir(parents=True, exist_ok=True)
    (out / "labels" / "splits").mkdir(exist_ok=True)
    mapping = [f"{number} {name}\n" for number, name in enumerate(names)]
    (out / "labels" / "mapping.txt").write_text("".join(mapping))
    for video, numbers in labels.items():
        lines = "".join(f"{names[number]}\n" for number in numbers)
        (out / "labels" / "groundTruth" / f"{video}.txt").write_text(lines)


def write_split(out: Path, number: int, train: list[str], test: list[str]) -> None:
    """Write the bundles of a split in Breakfast's format."""
    for name, videos in (("test", test), ("train", train)):
        bundle = out / "labels" / "splits" / f"{name}.split{number}.bundle"
        bundle.write_text("".join(f"{video}.txt\n" for video in videos))


def folds_of(out: Path) -> dict[str, int]:
    """Return the test fold of each video."""
    folds: dict[str, int] = json.loads((out / "folds.json").read_text())
    return folds


def train_once(out: Path, folder: Path, split: int, seed: int, flags: list[str]) -> None:
    """Train one run, if it is not there yet."""
    if (folder / "report" / "result.json").exists():
        return
    run("vllm-train", "--config", str(out / "recipe.toml"), "--features", str(out / "feats.zarr"),
        "--annotations", str(out / "labels"), "--out", str(folder), "--seed", str(seed), "--resume",
        "--set", f"train.tasks.action_segmentation.split={split}", *flags)  # fmt: skip


def of_task(options: Mapping[str, object]) -> dict[str, object]:
    """Return options of the task as settings of a run."""
    return {f"train.tasks.action_segmentation.{key}": value for key, value in options.items()}


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--variant", type=click.Choice(VARIANTS), required=True)
@click.option("--budget", default=6, show_default=True, help="Settings that are tried.")
def search(out: Path, variant: str, budget: int) -> None:
    """Try settings on held-out training videos of each fold, and keep the best of each."""
    keep_the_best(out, variant, [draw(variant, number) for number in range(budget)])


def keep_the_best(out: Path, variant: str, tried: Sequence[Mapping[str, object]]) -> None:
    """Train with each of the settings inside each fold; write the best, and its best decoder."""
    for fold in sorted(set(folds_of(out).values())):
        scored = []
        for number, settings in enumerate(tried):
            folder = out / "search" / variant / f"fold{fold}" / str(number)
            train_once(out, folder, INNER + fold, 0, flags_of(variant, out, settings))
            scored.append((*best_decoder(folder, out / "feats.zarr"), number))
        best, decoder, number = max(scored, key=lambda one: one[0])
        click.echo(f"{variant} fold {fold}: {number}, {decoder}, {best:.2f} on held-out videos")
        found = {**tried[number], **of_task(decoder)}
        chosen = {"number": number, "score": best, "settings": found}
        (out / "search" / variant / f"fold{fold}.json").write_text(json.dumps(chosen, indent=1))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--variant", type=click.Choice(VARIANTS), default="llm")
@click.option("--seed", default=0)
@click.option("--share", type=click.Choice(SHARES), default=100, help="Of the training videos, %.")
@click.option("--name", help="Name of the runs; default: variant, share and seed.")
@click.argument("settings", nargs=-1)
def train(
    out: Path, variant: str, seed: int, share: int, name: str | None, settings: tuple[str, ...]
) -> None:
    """Train every fold with what was found for it, or else with the first draw.

    SETTINGS are passed on to vllm-train.
    """
    of_share = "" if share == 100 else f"-share{share}"
    for fold in sorted(set(folds_of(out).values())):
        found = out / "search" / variant / f"fold{fold}.json"
        chosen = json.loads(found.read_text())["settings"] if found.exists() else draw(variant, 0)
        folder = out / "runs" / (name or f"{variant}{of_share}-seed{seed}") / f"fold{fold}"
        flags = [*flags_of(variant, out, chosen), *settings]
        train_once(out, folder, SHARES[share] + fold, seed, flags)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.argument("name")
@click.argument("runs", nargs=-1, required=True)
@click.option("--option", "options", multiple=True, help="Passed on to vllm-predict.")
def predict(out: Path, name: str, runs: tuple[str, ...], options: tuple[str, ...]) -> None:
    """Let RUNS decide together (or one decide with other options); store it as the run NAME."""
    for fold in sorted(set(folds_of(out).values())):
        folders = [str(out / "runs" / run_name / f"fold{fold}") for run_name in runs]
        target = predictions_of(out, name, fold)
        more = [text for option in options for text in ("--option", option)]
        run("vllm-predict", *folders, "--features", str(out / "feats.zarr"), "--subset", "val",
            "--out", str(target), *more)  # fmt: skip


def predictions_of(out: Path, name: str, fold: int) -> Path:
    """Return where a run's predictions of its test fold lie."""
    return out / "runs" / name / f"fold{fold}" / "predictions" / "val" / "action_segmentation"


def pairs_of(out: Path, name: str) -> dict[str, LabelPair]:
    """Return each test video's labels and what a run said of it, in class numbers."""
    lines = (out / "labels" / "mapping.txt").read_text().splitlines()
    numbers = {label: int(number) for number, label in (line.split(" ", 1) for line in lines)}

    def labels_of(path: Path) -> np.ndarray:
        return np.array([numbers[label] for label in path.read_text().splitlines()])

    found = {}
    for path in (out / "runs" / name).glob("fold*/predictions/val/action_segmentation/*.txt"):
        truth = labels_of(out / "labels" / "groundTruth" / path.name)
        found[path.stem] = LabelPair(truth_F=truth, predicted_F=labels_of(path))
    return found


def runs_of(out: Path, name: str) -> list[dict[str, LabelPair]]:
    """Return the finished runs of a variant, one for each seed, or the one run of that name."""
    folders = [*(out / "runs").glob(f"{name}-seed*"), *(out / "runs").glob(name)]
    runs = [pairs_of(out, folder.name) for folder in sorted(folders)]
    return [run for run in runs if run.keys() == folds_of(out).keys()]


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def score(out: Path) -> None:
    """Print the official numbers over all test videos: of each run, then mean and spread."""
    click.echo("".join(["run".ljust(28), *(key.rjust(16) for key in KEYS)]))
    by_variant: dict[str, list[dict[str, float]]] = {}
    for folder in sorted((out / "runs").iterdir()):
        pairs = pairs_of(out, folder.name)
        if pairs.keys() == folds_of(out).keys():
            scores = segmental_scores(list(pairs.values()), background=0)
            by_variant.setdefault(folder.name.partition("-seed")[0], []).append(scores)
            click.echo(folder.name.ljust(28) + "".join(f"{scores[key]:16.1f}" for key in KEYS))
    for variant, seeds in by_variant.items():
        if len(seeds) > 1:
            values = [[one[key] for one in seeds] for key in KEYS]
            cells = [f"{mean(one):.1f} ± {stdev(one):.1f}".rjust(16) for one in values]
            click.echo(f"{variant}, {len(seeds)} seeds".ljust(28) + "".join(cells))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.argument("first")
@click.argument("second")
def compare(out: Path, first: str, second: str) -> None:
    """Print FIRST less SECOND, means over seeds, with 95 % intervals over the drawn videos."""
    show_differences(difference(runs_of(out, first), runs_of(out, second)))


if __name__ == "__main__":
    main()
