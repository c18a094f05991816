"""``vllm-predict``: a run + features -> a submission file in the task's official format."""

from pathlib import Path

import click

__all__ = ["main", "predict"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--features",
    required=True,
    metavar="STORE",
    type=click.Path(path_type=Path),
    help="Store with features of the same recipe as in training.",
)
@click.option(
    "--out",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Where the submission goes.",
)
@click.option("--stream", default="", metavar="NAME", help="Default: the one of the same recipe.")
@click.option("--task", default="", metavar="NAME", help="Of a run that learned several.")
@click.option("--annotations", default="", metavar="PATH", help="Default: those of the run.")
@click.option("--subset", default="val", type=click.Choice(["train", "val"]), show_default=True)
@click.option(
    "--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]), show_default=True
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a task option of the run, e.g. decoder=causal_filter.",
)
@click.option("--allow-missing", default=0, metavar="N", help="Videos the store may lack.")
def predict(
    runs: tuple[Path, ...],
    *,
    features: Path,
    out: Path,
    stream: str,
    task: str,
    annotations: str,
    subset: str,
    device: str,
    options: tuple[str, ...],
    allow_missing: int,
) -> None:
    """Predict with the best checkpoint of RUN and write the official submission.

    A folder of numbered runs, such as runs/action_segmentation, stands for its newest one.
    Several runs of one task, such as seeds, decide together: their log-probabilities are averaged.
    """
    from train.loop.logs import show_progress
    from train.predict.ensemble import open_runs
    from train.predict.subset import predict_subset
    from train.runs import chosen_run

    show_progress(True)
    chosen = [chosen_run(run) for run in runs]
    ensemble = open_runs(chosen, device=device, task_name=task, options=_task_options(options))
    prediction = predict_subset(
        ensemble,
        features,
        subset="train" if subset == "train" else "val",
        stream_name=stream,
        annotations=annotations,
        allow_missing=allow_missing,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    prediction.task.write_predictions(prediction.outputs, out)
    click.echo(
        f"{out}: {prediction.num_samples} samples predicted, "
        f"{len(prediction.missing)} videos missing."
    )


def _task_options(texts: tuple[str, ...]) -> dict[str, object]:
    from cache_schema.errors import ConfigError
    from cache_schema.settings import parse_value

    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--option {text}: expected KEY=VALUE, such as decoder=argmax.")
        options[key.strip()] = parse_value(value)
    return options


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(predict)
