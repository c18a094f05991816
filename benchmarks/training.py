r"""What a training step costs beside what it need cost.

    python -m benchmarks.training [--quick]

    steps      the trainer beside the same loop on batches in memory, and beside
               ``transformers.Trainer`` with peft (``benchmarks/training_steps.py``)
    waiting    share of the steps' time in which the trainer waits for a batch
    padding    share of all tokens, on published lengths (``benchmarks/training_padding.py``)
    payback    an epoch of the demo with and without its store (``benchmarks/training_payback.py``)

(Named so that ``import train`` of the scripts beside it means the package.)
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import torch
from transformers.utils import logging as transformers_logging

from benchmarks import training_padding, training_payback, training_steps
from benchmarks.training_steps import ROWS_PER_SECOND, TUNINGS, Sizes
from train.config import LlmConfig

DEMO_SECONDS = 48


def measure_steps(folder: Path, sizes: Sizes) -> dict[str, dict]:
    """Measure and print the steps of each tuning method."""
    windows = sizes.batch_size * (1 + sizes.steps)
    training_steps.write_inputs(folder, [sizes.window_rows] * (windows + 1))  # one to predict
    click.echo(
        f"{'':8}{'s/step':>8}{'/resident':>11}{'/Trainer':>10}{'(CPU':>8}{')':>8}{'waits':>8}"
    )
    measured = {}
    for name, tuning in TUNINGS.items():
        one = measured[name] = training_steps.measure(tuning, folder, sizes)
        click.echo(
            f"{name:8}{one['step_seconds']['ours']:8.3f}{one['steps_vs_resident']:11.3f}"
            f"{one['steps_vs_trainer']:10.3f}{one['steps_vs_resident_cpu']:8.3f}"
            f"{one['steps_vs_trainer_cpu']:8.3f}{one['wait_share']:8.2%}"
        )
    return measured


def measure_padding() -> dict[str, dict[str, float]]:
    """Measure and print the padding of each data set."""
    measured = {
        name: training_padding.measure(lengths)
        for name, lengths in training_padding.distributions().items()
    }
    columns = list(next(iter(measured.values())))
    click.echo("padding".ljust(18) + "".join(f"{column:>24}" for column in columns))
    for name, shares in measured.items():
        click.echo(name.ljust(18) + "".join(f"{shares[column]:24.2%}" for column in columns))
    return measured


def show_payback(one: Mapping[str, object]) -> None:
    click.echo(
        f"demo, {one['videos']} videos: an epoch takes {one['epoch_seconds_end_to_end']:.1f} s "
        f"from the videos, {one['epoch_seconds_cached']:.1f} s from the store "
        f"({one['end_to_end_vs_cached']:.1f} times less), which has paid for itself after "
        f"{one['epochs_until_paid']} epochs"
    )


@click.command()
@click.option("--quick", is_flag=True, help="One short round, for trials.")
@click.option("--threads", type=int, help="Of torch, in place of one for each core.")
@click.option("--llm", default="smollm2")
@click.option("--blocks", default=4, help="Of the LLM in the steps.")
@click.option("--rounds", default=5)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/train.json")
def main(quick: bool, threads: int | None, llm: str, blocks: int, rounds: int, out: Path) -> None:
    """Print the tables and write OUT."""
    if threads is not None:
        torch.set_num_threads(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.set_verbosity_error()
    logging.getLogger("train").setLevel(logging.ERROR)
    sizes = Sizes(
        rounds=1 if quick else rounds,
        steps=3 if quick else 8,
        batch_size=4,
        window_rows=DEMO_SECONDS * ROWS_PER_SECOND,
        llm=LlmConfig(name=llm, num_layers=blocks),
    )
    with tempfile.TemporaryDirectory() as name:
        steps = measure_steps(Path(name), sizes)
        padding = measure_padding()
        paid = training_payback.measure(Path(name), 1 if quick else 4, 2 if quick else 3)
    show_payback(paid)
    result = {
        "wait_share": max(one["wait_share"] for one in steps.values()),
        "steps_vs_resident": {name: one["steps_vs_resident"] for name, one in steps.items()},
        "steps_vs_trainer": {name: one["steps_vs_trainer"] for name, one in steps.items()},
        "padding_share": max(one["training"] for one in padding.values()),
        "epochs_until_paid": paid["epochs_until_paid"],
        "end_to_end_vs_cached": paid["end_to_end_vs_cached"],
        "threads": torch.get_num_threads(),
        "rounds": sizes.rounds,
        "batch_size": sizes.batch_size,
        "window_rows": sizes.window_rows,
        "llm": llm,
        "blocks": blocks,
        "load_average": os.getloadavg(),
        "steps": steps,
        "padding": padding,
        "payback": paid,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
