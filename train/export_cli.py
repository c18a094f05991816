"""``vllm-export``: a run -> the LLM with its adapter merged in, for other programs."""

from pathlib import Path

import click

__all__ = ["export", "main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--out", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="To be made."
)
def export(run: Path, out: Path) -> None:
    """Write the best checkpoint of RUN with its adapter merged into the LLM.

    A folder of numbered runs, such as runs/action_segmentation, stands for its newest one.
    FOLDER/llm is loaded by transformers; translator and heads lie in FOLDER/video.safetensors.
    """
    from train.export import export_run
    from train.loop.logs import show_progress
    from train.runs import chosen_run

    show_progress(True)
    click.echo(
        f"{export_run(chosen_run(run), out)}: the LLM, merged; translator and heads beside it."
    )


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(export)
