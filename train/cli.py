"""``vllm-train``: features + annotations -> a run folder with the best model and its scores."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # torch must not be imported before the command runs: --help answers at once.
    from train.config import TrainConfig
    from train.run import Report

__all__ = ["main", "train"]

TYPED = "train.cli.typed"
PRINT_JOB_SCRIPT = "--print-job-script"


class _TypedCommand(click.Command):
    """Remembers the command line as it was typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_TypedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--features", metavar="STORE", help="Feature store made by vllm-extract.")
@click.option(
    "--task", multiple=True, metavar="NAME", help="What to learn; repeat it to learn several."
)
@click.option(
    "--annotations", multiple=True, metavar="PATH", help="Annotation files, one for each --task."
)
@click.option("--llm", metavar="NAME", help="smollm2, a hub id, a local folder, gru, tcn or none.")
@click.option(
    "--tuning",
    metavar="METHOD",
    help="auto (lora:16), basic (frozen), bias, first, last, first+last, full, lora:R, prompt:N or "
    "prefix:N.",
)
@click.option(
    "--stream",
    multiple=True,
    metavar="NAME",
    help="Stream of the store, if it holds several; repeat it to read them side by side.",
)
@click.option(
    "--out", metavar="FOLDER", help="Folder of the run; default runs/<task>/<next number>."
)
@click.option("--epochs", type=int, help="Passes over the training rows.")
@click.option("--lr", type=float, help="Learning rate after the warm-up.")
@click.option("--batch-size", type=int, help="Windows per optimizer step.")
@click.option("--seed", type=int, help="Random seed of weights, sample order and noise.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to run.")
@click.option("--allow-missing", type=int, metavar="N", help="Annotated videos the store may lack.")
@click.option(
    "--wandb",
    "wandb_project",
    metavar="PROJECT",
    help="Send the numbers to this project of Weights & Biases too.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the newest run, or the one in --out; start anew if there is none.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Override one setting, e.g. --set train.optim.warmup_fraction=0.1.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Settings file; default: pipeline.toml of this folder, if there is one.",
)
@click.option(
    "--dry-run", is_flag=True, help="Check everything, say what would happen, and do nothing."
)
@click.option(
    PRINT_JOB_SCRIPT,
    is_flag=True,
    help="Print a script for sbatch that does the same on several nodes, and do nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.pass_context
def train(
    context: click.Context,
    /,
    *,
    task: tuple[str, ...],
    annotations: tuple[str, ...],
    stream: tuple[str, ...],
    llm: str | None,
    epochs: int | None,
    lr: float | None,
    batch_size: int | None,
    wandb_project: str | None,
    resume: bool,
    overrides: tuple[str, ...],
    config_path: Path | None,
    dry_run: bool,
    print_job_script: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Train the translator and the heads of one task or several on stored features.

    Settings come from pipeline.toml ([train]), then --set, then the other options; the last wins.

    \b
    Example:
      vllm-train --features feats.zarr --task action_segmentation --annotations labels.jsonl
      vllm-train --features feats.zarr --task moment_query --annotations ego4d/ --tuning basic
      vllm-train --features feats.zarr --task action_segmentation --annotations bf/ --resume

    Exit codes: 0 trained, 2 wrong usage, 1 failed, 130 or 143 stopped by a signal (see --resume).
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    flags |= {
        "task": list(task) or None,
        "annotations": list(annotations) or None,
        "stream": list(stream) or None,
        "llm.name": llm,
        "optim.epochs": epochs,
        "optim.lr": lr,
        "optim.batch_size": batch_size,
        "logging.wandb_project": wandb_project,
    }
    config = _settings(config_path, overrides, flags, needs_inputs=not dry_run)
    if print_job_script:
        click.echo(_job_script(context, config), nl=False)
        return
    report: Report | None
    if dry_run:
        from train.dry_run import dry_run as describe

        report = describe(config, resume=resume)
    else:
        from train.loop.parallel import leave_group
        from train.run import train as run

        report = run(config, resume=resume)
        leave_group()
    if report is not None:
        _show(report, as_json=as_json)


def _job_script(context: click.Context, config: "TrainConfig") -> str:
    from train.config import runs_folder
    from train.job_script import job_script

    arguments = [word for word in context.meta[TYPED] if word != PRINT_JOB_SCRIPT]
    binaries = Path(sys.executable).parent
    return job_script(
        arguments,
        config.job,
        binaries=binaries,
        folder=Path.cwd(),
        runs=None if config.out else runs_folder(config),
        device=config.device,
    )


def _settings(
    config_path: Path | None,
    overrides: tuple[str, ...],
    flags: dict[str, object],
    *,
    needs_inputs: bool,
) -> "TrainConfig":
    from cache_schema.settings import load_settings
    from train.config import TrainConfig, require_inputs

    config = load_settings(
        TrainConfig, "train", config_path=config_path, overrides=overrides, flags=flags
    )
    if needs_inputs:
        require_inputs(config)
    return config


def _show(report: "Report", *, as_json: bool) -> None:
    import json

    click.echo(json.dumps(report.to_json()) if as_json else report.text())


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(train, interrupted="The last checkpoint is kept; --resume goes on with it.")
