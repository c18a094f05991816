r"""Every task at the size of its data set, on stand-ins.

    python -m benchmarks.full_size                      all of them (make bench-full, half an hour)
    python -m benchmarks.full_size make DATASET OUT     annotation files and a feature store
    python -m benchmarks.full_size run DATASET FOLDER   what these cost

    read      annotations into samples, both subsets
    train     steps of a run with two blocks of the LLM, and what an epoch of them takes
    predict   some of the validation subset, and what all of it takes
    write     the submission of all of it, of random outputs that come one by one
    score     that submission by the official rules

Each in a process of its own, whose memory is then its own; ``benchmarks/stand_ins/`` says what the
data sets are made from.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # it may be called by its path, too

from benchmarks.full_size_measures import Asked, to_words
from benchmarks.stand_ins.breakfast import BREAKFAST
from benchmarks.stand_ins.ego4d_lta import LTA_V1, LTA_V2
from benchmarks.stand_ins.ego4d_mq import MQ_V1, MQ_V2
from benchmarks.stand_ins.ego4d_narrations import NARRATIONS_V1, NARRATIONS_V2
from benchmarks.stand_ins.ego4d_nlq import NLQ_V1, NLQ_V2
from benchmarks.stand_ins.epic100 import EPIC100
from benchmarks.stand_ins.qvhighlights import QVHIGHLIGHTS
from benchmarks.stand_ins.stand_in import StandIn, Use, write_features

DATASETS: Mapping[str, StandIn] = {
    "epic100": EPIC100,
    "ego4d_nlq_v1": NLQ_V1,
    "ego4d_nlq_v2": NLQ_V2,
    "ego4d_mq_v1": MQ_V1,
    "ego4d_mq_v2": MQ_V2,
    "ego4d_lta_v1": LTA_V1,
    "ego4d_lta_v2": LTA_V2,
    "ego4d_narrations_v1": NARRATIONS_V1,
    "ego4d_narrations_v2": NARRATIONS_V2,
    "breakfast": BREAKFAST,
    "qvhighlights": QVHIGHLIGHTS,
}
ANNOTATIONS, FEATURES = "annotations", "features.zarr"
STEPS = 20
"""Of a run, where an epoch would take hours."""

Figures = dict[str, Any]


def make_stand_in(dataset: str, folder: Path, share: float, *, with_features: bool) -> Figures:
    """Write a stand-in; return how large it is and how long that took."""
    stand_in, rng = DATASETS[dataset], np.random.default_rng(0)
    annotations = folder / ANNOTATIONS
    annotations.mkdir(parents=True)
    started = time.perf_counter()
    videos = stand_in.write_annotations(annotations, share, rng)
    written = time.perf_counter()
    figures: Figures = {
        "videos": len(videos),
        "hours": sum(video.seconds for video in videos) / 3600,
        "annotation_bytes": _bytes_below(annotations),
        "annotation_seconds": written - started,
    }
    if with_features:
        rows = write_features(folder / FEATURES, stand_in.features, videos, rng)
        figures |= {
            "rows": rows,
            "width": stand_in.features.width,
            "feature_bytes": _bytes_below(folder / FEATURES),
            "feature_seconds": time.perf_counter() - written,
        }
    return figures


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(dataset: str, folder: Path, steps: int) -> dict[str, Figures]:
    """Return use -> stage -> figures of a stand-in that lies in a folder."""
    measured: dict[str, Figures] = {}
    for use in DATASETS[dataset].uses:
        name = use.task if use.annotations == "." else f"{use.task}, {use.annotations}"
        measured[name] = {}
        with tempfile.TemporaryDirectory(dir=folder) as out:
            for stage in _stages(use, is_whole=(folder / FEATURES).exists()):
                measured[name][stage] = _measured(stage, use, folder, Path(out), steps)
                click.echo(f"{dataset:20}{name:38}{stage:9}{_shown(measured[name][stage])}")
    return measured


def _stages(use: Use, *, is_whole: bool) -> list[str]:
    if not is_whole:
        return ["read"]
    shared = ["write", "score"]
    return ["read", "train", "predict", *shared] if use.annotations == "." else shared


def _measured(stage: str, use: Use, folder: Path, out: Path, steps: int) -> Figures:
    asked = Asked(
        task=use.task,
        annotations=str((folder / ANNOTATIONS / use.annotations).resolve()),
        features=str((folder / FEATURES).resolve()),
        out=str(out.resolve()),
        steps=steps,
        most_rows=use.most_rows,
    )
    done = subprocess.run(
        to_words(stage, asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _shown(figures: Figures) -> str:
    return "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())


def summary(datasets: Mapping[str, Figures]) -> Figures:
    """Return the figures that have a target."""
    every_video = datasets["epic100"]["tasks"]["online_action_detection, every_video"]["score"]
    queries = datasets["ego4d_nlq_v2"]["tasks"]["natural_language_query"]["predict"]
    alone, shared = (queries[f"row_passes_of_subset{name}"] for name in ("_alone", ""))
    return {
        "epic_detection_score_seconds": every_video["seconds"],
        "epic_detection_score_gb": every_video["gb_with_pages_of_files"],
        "nlq_row_pass_ratio": alone / shared,
        "read_annotations_seconds": {
            name: max(one["read"]["seconds"] for one in figures["tasks"].values() if "read" in one)
            for name, figures in datasets.items()
        },
    }


@click.group(invoke_without_command=True)
@click.option("--steps", default=STEPS)
@click.option("--work", type=click.Path(path_type=Path), help="Folder for 30 GB; else a temporary.")
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/full.json")
@click.pass_context
def main(context: click.Context, steps: int, work: Path | None, out: Path) -> None:
    """Make and measure one stand-in after the other, print the figures and write OUT."""
    if context.invoked_subcommand is not None:
        return
    datasets: dict[str, Figures] = {}
    for name, stand_in in DATASETS.items():
        folder = Path(tempfile.mkdtemp(dir=work, prefix=f"{name}-"))
        try:
            made = make_stand_in(name, folder, 1.0, with_features=not stand_in.has_newer)
            click.echo(f"{name:20}{'':38}{'make':9}{_shown(made)}")
            datasets[name] = {"made": made, "tasks": measure(name, folder, steps)}
        finally:
            shutil.rmtree(folder)
    result = {
        **summary(datasets),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load_average": os.getloadavg(),
        "datasets": datasets,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


@main.command("make")
@click.argument("dataset", type=click.Choice(list(DATASETS)))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--share", default=1.0, help="Of the full size.")
def make_command(dataset: str, out: Path, share: float) -> None:
    """Write annotation files and a feature store into the folder OUT."""
    click.echo(_shown(make_stand_in(dataset, out, share, with_features=True)))


@main.command("run")
@click.argument("dataset", type=click.Choice(list(DATASETS)))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--steps", default=STEPS)
def run_command(dataset: str, folder: Path, steps: int) -> None:
    """Measure what lies in FOLDER."""
    measure(dataset, folder, steps)


if __name__ == "__main__":
    main()
