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
``search`` and ``baselines`` choose their settings on the recordings of the next number, which are
held out for it, and never see the test fold.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import click
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # it may be called by its path, too

from benchmarks import fifty_salads
from benchmarks.arena_bootstrap import BOOTSTRAPS
from benchmarks.arena_decoders import COMPARED, mean_score
from benchmarks.arena_splits import INNER, splits_of
from benchmarks.arena_variants import VARIANTS, flags_of, save_scratch_llm
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
    run,
    runs_of,
    train_once,
    write_split,
)
from cache_schema.store import open_store
from train.data.row_times import rows_at
from train.metrics.segmental import LabelPair, segmental_scores

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
TRIED = [
    {"train.stream": STREAM, "train.optim.epochs": 6},
    {"train.stream": BOTH_STREAMS, "train.optim.epochs": 6},
    {"train.stream": BOTH_STREAMS, "train.optim.epochs": 12},
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
    """Try rows with and without their differences inside each fold, and how long to train.

    How scores become labels is not searched: it is the recipe's way throughout.
    """
    for fold in sorted(set(folds_of(out).values())):
        tried = []
        for number, settings in enumerate(TRIED):
            folder = out / "search" / variant / f"fold{fold}" / str(number)
            train_once(out, folder, INNER + fold, 0, flags_of(variant, out, settings))
            metrics = json.loads((folder / "report" / "result.json").read_text())["metrics"]
            tried.append(mean(metrics[key] for key in COMPARED))
        best = int(np.argmax(tried))
        click.echo(f"{variant} fold {fold}: {TRIED[best]}, {tried[best]:.2f} on held-out videos")
        chosen = {"number": best, "score": tried[best], "settings": TRIED[best]}
        (out / "search" / variant / f"fold{fold}.json").write_text(json.dumps(chosen, indent=1))


# --- without a network ----------------------------------------------------------------------------

Rows = NDArray[np.float32]


class FrozenRows:
    """The rows of all videos as they are stored, and the label at the centre of each.

    Shapes: R rows, C channels, F label frames.
    """

    def __init__(self, out: Path) -> None:
        stream = open_store(out / "feats.zarr").stream(STREAM)
        read = {video: stream.read(video) for video in folds_of(out)}
        self.rows_RC = {video: rows.float32 for video, rows in read.items()}
        self.times_R2 = {video: rows.times_R2 for video, rows in read.items()}
        numbers = {name: number for number, name in enumerate(CLASSES)}
        files = {video: out / "labels" / "groundTruth" / f"{video}.txt" for video in read}
        self.labels_F = {
            video: np.array([numbers[name] for name in file.read_text().splitlines()])
            for video, file in files.items()
        }

    def labels_R(self, video: str) -> NDArray[np.int64]:
        """Return the class of the label frame at each row's centre."""
        frames_R = (self.times_R2[video].mean(axis=1) * TICS_PER_SECOND).astype(np.int64)
        labels_F = self.labels_F[video]
        return labels_F[np.minimum(frames_R, len(labels_F) - 1)]

    def on_frames(self, video: str, classes_R: NDArray[np.int64]) -> LabelPair:
        """Give each label frame the class of the row that covers its middle, as ours do."""
        truth_F = self.labels_F[video]
        middles_F = (np.arange(len(truth_F)) + 0.5) / TICS_PER_SECOND
        predicted_F = classes_R[rows_at(self.times_R2[video], middles_F)]
        return LabelPair(truth_F=truth_F, predicted_F=predicted_F)


def recent_mean(rows_RC: Rows, pooled: int) -> Rows:
    """Return the mean of each row and those before it, fewer at the beginning."""
    spans = [slice(max(row + 1 - pooled, 0), row + 1) for row in range(len(rows_RC))]
    return np.stack([rows_RC[span].mean(axis=0) for span in spans])


@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic:
    """Logistic regression on mean-pooled rows, with or without their differences."""

    differences: bool
    pooled: int
    c: float
    """Inverse strength of its regularisation."""

    def predict(
        self, frozen: FrozenRows, train: list[str], videos: list[str]
    ) -> dict[str, LabelPair]:
        """Learn from the training videos; say what the others show."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), LogisticRegression(C=self.c, max_iter=300))
        model.fit(
            np.concatenate([self.inputs_of(frozen.rows_RC[video]) for video in train]),
            np.concatenate([frozen.labels_R(video) for video in train]),
        )
        said = {video: model.predict(self.inputs_of(frozen.rows_RC[video])) for video in videos}
        return {video: frozen.on_frames(video, classes_R) for video, classes_R in said.items()}

    def inputs_of(self, rows_RC: Rows) -> Rows:
        """Return mean-pooled rows, and beside them their mean-pooled differences."""
        if not self.differences:
            return recent_mean(rows_RC, self.pooled)
        motion_RC = np.diff(rows_RC, axis=0, prepend=rows_RC[:1])
        return np.hstack([recent_mean(one, self.pooled) for one in (rows_RC, motion_RC)])


@dataclass(frozen=True)
class Majority:
    """The commonest label of the training videos, always."""

    def predict(
        self, frozen: FrozenRows, train: list[str], videos: list[str]
    ) -> dict[str, LabelPair]:
        """Count the training videos' labels; say the same of every other row."""
        counts = np.bincount(np.concatenate([frozen.labels_F[video] for video in train]))
        said = {video: np.full(len(frozen.rows_RC[video]), counts.argmax()) for video in videos}
        return {video: frozen.on_frames(video, classes_R) for video, classes_R in said.items()}


BASELINES: dict[str, list[Logistic | Majority]] = {
    "majority": [Majority()],
    **{
        name: [
            Logistic(differences=differences, pooled=pooled, c=c) for pooled, c in TRIED_LOGISTIC
        ]
        for name, differences in (("logistic_rows", False), ("logistic_rows_motion", True))
    },
}
"""Of each what is tried on held-out training videos."""


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
def baselines(out: Path) -> None:
    """Predict every fold without a network; the runs lie beside the others."""
    frozen = FrozenRows(out)
    splits = splits_of(folds_of(out))
    for name, tried in BASELINES.items():
        for fold in sorted(set(folds_of(out).values())):
            said = [one.predict(frozen, *splits[INNER + fold]) for one in tried]
            scores = [mean_score(list(pairs.values())) for pairs in said]
            best = tried[int(np.argmax(scores))]
            click.echo(f"{name} fold {fold}: {best}, {max(scores):.2f} on held-out videos")
            folder = out / "runs" / name / f"fold{fold}/predictions/val/action_segmentation"
            folder.mkdir(parents=True, exist_ok=True)
            for video, pair in best.predict(frozen, *splits[fold]).items():
                lines = [f"{CLASSES[label]}\n" for label in pair.predicted_F]
                (folder / f"{video}.txt").write_text("".join(lines))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.argument("first")
@click.argument("second")
def compare(out: Path, first: str, second: str) -> None:
    """Print FIRST less SECOND, means over views and seeds, with 95 % intervals over drawn games.

    Games are drawn and not views, for those of one game show the same play.
    """
    views = sorted(folds_of(out))
    scores = [view_scores(out, name, views) for name in (first, second)]
    differences_VK = scores[0] - scores[1]
    games = np.array([view.rpartition("-")[0] for view in views])
    names = np.unique(games)
    rng = np.random.default_rng(0)
    draws = [rng.choice(names, len(names)) for _ in range(BOOTSTRAPS)]
    drawn_DK = np.array(
        [np.concatenate([differences_VK[games == game] for game in one]).mean(0) for one in draws]
    )
    for key, own, (low, high) in zip(
        COMPARED,
        differences_VK.mean(0),
        np.percentile(drawn_DK, [2.5, 97.5], axis=0).T,
        strict=True,
    ):
        click.echo(f"{key:16}{own:+8.2f}   [{low:+.2f}, {high:+.2f}]")


def view_scores(out: Path, name: str, views: list[str]) -> NDArray[np.float64]:
    """Return each view's scores (V, K), means over seeds."""
    runs = [
        [segmental_scores([run_pairs[view]], background=0) for view in views]
        for run_pairs in runs_of(out, name)
    ]
    return np.mean([[[one[key] for key in COMPARED] for one in seed] for seed in runs], axis=0)


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
