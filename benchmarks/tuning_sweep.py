r"""Every tuning method on one task, several seeds: the shape of the paper's Table 3.

    python benchmarks/tuning_sweep.py run OUT --config recipe.toml --features feats.zarr \
        --task online_action_detection --annotations ANNOTATIONS
    python benchmarks/tuning_sweep.py table OUT --metric overall_action_mt5r

Several ``--annotations`` are folds: a seed's value is the mean over them. A run that is there is
not done again, so the sweep may be stopped and gone on with. Methods that the LLM does not have
(biases in a LLaMA-like one) are named and left out.
"""

import json
from pathlib import Path

import click
import numpy as np

from cache_schema.errors import ConfigError
from cache_schema.settings import load_settings
from train.config import TrainConfig
from train.dry_run import dry_run
from train.run import train

METHODS = [
    "basic", "bias", "first", "last", "first+last", "full",
    *(f"{kind}:{size}" for kind in ("lora", "prompt", "prefix") for size in (1, 2, 4, 8)),
]  # fmt: skip


@click.group()
def main() -> None:
    """Compare tuning methods."""


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--features", required=True)
@click.option("--task", required=True)
@click.option("--annotations", multiple=True, required=True)
@click.option("--seeds", default=3)
@click.option("--method", "methods", multiple=True, help="Default: all.")
@click.option("--set", "overrides", multiple=True)
def run(
    out: Path,
    config: Path,
    features: str,
    task: str,
    annotations: tuple[str, ...],
    seeds: int,
    methods: tuple[str, ...],
    overrides: tuple[str, ...],
) -> None:
    """Train every method with every seed on every fold."""
    for method in methods or METHODS:
        for seed in range(seeds):
            for fold, place in enumerate(annotations):
                folder = out / method.replace(":", "-") / f"seed{seed}" / f"fold{fold}"
                if (folder / "report.json").exists():
                    continue
                flags = {
                    "task": task,
                    "annotations": place,
                    "features": features,
                    "tuning": method,
                    "seed": seed,
                    "out": str(folder),
                }
                settings = load_settings(
                    TrainConfig, "train", config_path=config, overrides=overrides, flags=flags
                )
                try:
                    counts = dry_run(settings).trainable_parameters
                except ConfigError as error:
                    click.echo(f"{method}: left out. {error}")
                    continue
                report = train(settings, resume=True)
                assert report is not None  # one process
                content = {**report.to_json(), "trainable_parameters": counts, "method": method}
                (folder / "report.json").write_text(json.dumps(content))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--metric", "metrics", multiple=True, required=True)
def table(out: Path, metrics: tuple[str, ...]) -> None:
    """Print mean and standard deviation over the seeds of every method."""
    click.echo("| method | trained in the LLM | " + " | ".join(metrics) + " | runs |")
    click.echo("|---|---|" + "---|" * (len(metrics) + 1))
    for method in METHODS:
        folder = out / method.replace(":", "-")
        seeds = [_reports(seed) for seed in sorted(folder.glob("seed*"))]
        seeds = [reports for reports in seeds if reports]
        if not seeds:
            continue
        cells = []
        for metric in metrics:
            values = [np.mean([one["metrics"][metric] for one in reports]) for reports in seeds]
            spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
            cells.append(f"{np.mean(values):.4g} ± {spread:.1g}")
        trained = seeds[0][0]["trainable_parameters"]["llm"]
        count = sum(map(len, seeds))
        click.echo(f"| {method} | {trained:,} | " + " | ".join(cells) + f" | {count} |")


def _reports(seed: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(seed.glob("fold*/report.json"))]


if __name__ == "__main__":
    main()
