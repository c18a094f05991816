"""Action segmentation from pixels: what does the player do whose view this is?

Videos of 12 recorded games (``benchmarks/doom_recordings.py``), 21 views of 35 minutes in all; the
labels are what the players pressed. From the video files to the table with the project's commands:

    apt-get install freedoom freedm dsda-doom ffmpeg                # Debian 12: 0.12.1, 0.25.6
    python benchmarks/recorded_play.py prepare /usr/share/games/doom OUT   # draw, label, extract
    python benchmarks/recorded_play.py baselines OUT                # frozen rows, no network
    python benchmarks/recorded_play.py search OUT --variant gru     # settings, in each fold
    python benchmarks/recorded_play.py train OUT --variant gru --seed 0
    python benchmarks/recorded_play.py score OUT                    # all runs beside each other
    python benchmarks/recorded_play.py compare OUT llm gru          # paired, by bootstrap
    python benchmarks/recorded_play.py recalls OUT llm gru          # of each class

Four folds by the number of a recording in its WAD. The views of one game are never on both sides,
nor is any map: no two recordings share one. Textures, monsters and weapons are those of one game.
``search`` and ``baselines`` choose their settings, and how scores become labels, on the recordings
of the next number, which are held out for it, and never see the test fold.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # it may be called by its path, too

from benchmarks import fifty_salads
from benchmarks.arena_bootstrap import difference, show_differences
from benchmarks.arena_decoders import best_of
from benchmarks.arena_splits import INNER, splits_of
from benchmarks.arena_variants import VARIANTS, save_scratch_llm
from benchmarks.doom_recordings import (
    CLASSES,
    TICS_PER_SECOND,
    Recording,
    labels_of,
    read_recordings,
    render,
)
from benchmarks.fifty_salads import (
    folds_of,
    keep_the_best,
    predictions_of,
    run,
    runs_of,
    write_split,
)
from benchmarks.frozen_readers import Logistic
from cache_schema.store import open_store
from train.tasks import load_task
from train.tasks.action_segmentation import ActionSegmentation

GAMES = ("freedoom1", "freedoom2", "freedm")
ROWS_PER_SECOND = "4"
STREAM = "efficientnet_lite0"

RECIPE = f"""\
[train]
task = "action_segmentation"
tuning = "lora:16"
evaluate_every = "100 epochs"

[train.llm]
num_layers = 2

[train.translator]
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
batch_size = 1

[train.tasks.action_segmentation]
label_fps = "{TICS_PER_SECOND}"
smoothing_weight = 0.15
next_weight = 0.5
decoder = "two_head"
"""
"""That of 50Salads, with more and smaller steps, and without a mean over rows."""

BOTH_STREAMS = f'["{STREAM}", "{STREAM}:motion"]'
NOISY = {
    "train.optim.epochs": 12,
    "train.augment.noise_std": 0.6,
    "train.augment.shift_std": 0.5,
    "train.augment.state_dropout": 0.5,
}
TRIED: list[dict[str, object]] = [
    {"train.stream": BOTH_STREAMS, "train.optim.epochs": 6},
    {"train.stream": BOTH_STREAMS, **NOISY},
    {"train.stream": STREAM, **NOISY},
]
"""What ``search`` tries, the same for every variant; all else is the recipe's."""
TRIED_LOGISTIC = [(1, 0.001), (2, 0.001), (2, 0.0001)]
"""What ``baselines`` tries, as many: rows of the mean, and scikit-learn's C."""


@click.group()
def main() -> None:
    """Compare what may read the rows of recorded play."""


for command in (fifty_salads.train, fifty_salads.score):
    main.add_command(command)


@main.command()
@click.argument("wads", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
def prepare(wads: Path, out: Path) -> None:
    """Draw the recordings of WADS into OUT/videos, extract their rows, write their labels."""
    recordings = [one for game in GAMES for one in read_recordings(wads / f"{game}.wad")]
    (out / "videos").mkdir(parents=True, exist_ok=True)
    for recording in recordings:
        for player in recording.players:
            target = out / "videos" / f"{recording.name(player)}.mkv"
            if not target.exists():
                render(recording, player, wads / f"{recording.game}.wad", target)
    run("vllm-extract", str(out / "videos"), "--out", str(out / "feats.zarr"),
        "--fps", ROWS_PER_SECOND, "--device", "cpu")  # fmt: skip
    write_labels(recordings, out)
    save_scratch_llm(out)
    (out / "recipe.toml").write_text(RECIPE)


def write_labels(recordings: list[Recording], out: Path) -> None:
    """Write the labels of every frame in Breakfast's format, the splits, and OUT/folds.json."""
    views = [(one, player) for one in recordings for player in one.players]
    folds = {one.name(player): one.number for one, player in views}
    labels = {one.name(player): labels_of(one.inputs_N4(player)) for one, player in views}
    fifty_salads.write_labels(out, CLASSES, labels)
    (out / "folds.json").write_text(json.dumps(folds))
    for number, (train, test) in splits_of(folds).items():
        write_split(out, number, train, test)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--variant", type=click.Choice(VARIANTS), required=True)
def search(out: Path, variant: str) -> None:
    """Try settings inside each fold, and every decoder with each."""
    keep_the_best(out, variant, TRIED)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def baselines(out: Path) -> None:
    """Predict every fold without a network; the runs lie beside the others."""
    stream = open_store(out / "feats.zarr").stream(STREAM)
    rows = {video: stream.read(video) for video in folds_of(out)}
    for fold in sorted(set(folds_of(out).values())):
        with tempfile.TemporaryDirectory() as folder:
            segmentation(out, fold).baselines(Path(folder))
            shutil.copytree(
                Path(folder) / "majority", predictions_of(out, "majority", fold), dirs_exist_ok=True
            )
        for name, differences in (("logistic_rows", False), ("logistic_rows_motion", True)):
            readers = [
                Logistic(differences=differences, pooled=pooled, c=c)
                for pooled, c in TRIED_LOGISTIC
            ]
            inner = segmentation(out, INNER + fold)
            tried = [(*best_of(inner.answers, one.read(inner, rows)), one) for one in readers]
            best, decoder, reader = max(tried, key=lambda one: one[0])
            click.echo(f"{name} fold {fold}: {reader}, {decoder}, {best:.2f} on held-out videos")
            outer = segmentation(out, fold, decoder)
            outer.write_predictions(reader.read(outer, rows), predictions_of(out, name, fold))


def segmentation(
    out: Path, split: int, options: Mapping[str, object] | None = None
) -> ActionSegmentation:
    """Return the task with one of the splits."""
    own = {"split": split, "label_fps": str(TICS_PER_SECOND), **(options or {})}
    task = load_task("action_segmentation", out / "labels", own)
    assert isinstance(task, ActionSegmentation)
    return task


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.argument("first")
@click.argument("second")
def compare(out: Path, first: str, second: str) -> None:
    """Print FIRST less SECOND, means over seeds, with 95 % intervals over drawn games.

    Games are drawn and not views, for those of one game show the same play.
    """
    found = difference(
        runs_of(out, first), runs_of(out, second), lambda view: view.rpartition("-")[0]
    )
    show_differences(found)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.argument("names", nargs=-1, required=True)
def recalls(out: Path, names: tuple[str, ...]) -> None:
    """Print how many frames of each class are found, in percent, over all seeds, and their mean.

    The last column: of the turns that are called turns, those that are given the right side.
    """
    heads = [*CLASSES, "mean", "right side"]
    click.echo("".join(["run".ljust(24), *(head.rjust(16) for head in heads)]))
    turns = [CLASSES.index("turn_left"), CLASSES.index("turn_right")]
    for name in names:
        pairs = [pair for pairs in runs_of(out, name) for pair in pairs.values()]
        truth_F = np.concatenate([pair.truth_F for pair in pairs])
        said_F = np.concatenate([pair.predicted_F for pair in pairs])
        right_F = truth_F == said_F
        found = [100 * right_F[truth_F == number].mean() for number in range(len(CLASSES))]
        turned_F = np.isin(truth_F, turns) & np.isin(said_F, turns)
        sides = 100 * right_F[turned_F].mean() if turned_F.any() else 0.0
        click.echo(name.ljust(24) + "".join(f"{one:16.1f}" for one in [*found, mean(found), sides]))


if __name__ == "__main__":
    main()
