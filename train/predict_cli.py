"""``vllm-predict``: a run + features -> a submission file in the task's official format."""

from pathlib import Path

import click

__all__ = ["main", "predict"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
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
    run: Path,
    *,
    features: Path,
    out: Path,
    stream: str,
    annotations: str,
    subset: str,
    device: str,
    options: tuple[str, ...],
    allow_missing: int,
) -> None:
    """Predict with the best checkpoint of RUN and write the official submission."""
    from train.dataset import find_rows
    from train.evaluate import Predictor
    from train.prepare import load_trained_run
    from train.trainer import make_accelerator

    accelerator = make_accelerator(device)
    trained = load_trained_run(
        run,
        features,
        accelerator.device,
        stream_name=stream,
        annotations=annotations,
        options=_task_options(options),
    )
    samples = trained.task.samples("train" if subset == "train" else "val")
    found = find_rows(trained.task, samples, trained.stream, allow_missing=allow_missing)
    config = trained.checkpoint.config
    predictor = Predictor(
        model=trained.model,
        task=trained.task,
        stream=trained.stream,
        data=config.data,
        # As in training: in bfloat16 the last digits depend on the shape of a batch.
        batch_size=config.optim.micro_batch_size or config.optim.batch_size,
        device=accelerator.device,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    trained.task.write_predictions(predictor.predict(found.rows).outputs, out)
    click.echo(f"{out}: {len(found.rows)} samples predicted, {len(found.missing)} videos missing.")


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
