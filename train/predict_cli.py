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
@click.option("--batch-size", default=8, show_default=True, help="Windows per forward pass.")
@click.option(
    "--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]), show_default=True
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
    batch_size: int,
    device: str,
    allow_missing: int,
) -> None:
    """Predict with the best checkpoint of RUN and write the official submission."""
    from train.dataset import find_rows
    from train.evaluate import Predictor
    from train.prepare import load_trained_run
    from train.trainer import make_accelerator

    accelerator = make_accelerator(device)
    trained = load_trained_run(
        run, features, accelerator.device, stream_name=stream, annotations=annotations
    )
    samples = trained.task.samples("train" if subset == "train" else "val")
    found = find_rows(trained.task, samples, trained.stream, allow_missing=allow_missing)
    predictor = Predictor(
        model=trained.model,
        task=trained.task,
        stream=trained.stream,
        data=trained.checkpoint.config.data,
        batch_size=batch_size,
        device=accelerator.device,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    trained.task.write_predictions(predictor.predict(found.rows).outputs, out)
    click.echo(f"{out}: {len(found.rows)} samples predicted, {len(found.missing)} videos missing.")


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(predict)
