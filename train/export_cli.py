"""``vllm-export``: a run for other programs, or for other people.

vllm-export RUN --out FOLDER        the LLM with its adapter merged in
vllm-export RUN hf://USER/NAME      the run as it is, on a hub
"""

from pathlib import Path

import click

from cache_schema.place import Address, Place
from cache_schema.place_option import PLACE

__all__ = ["export", "main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", metavar="RUN")
@click.argument("target", required=False, type=PLACE, metavar="[hf://USER/NAME]")
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Folder to create.")
def export(run: str, target: Place | None, out: Path | None) -> None:
    """Write the best checkpoint of RUN for other programs, or send it to a hub.

    With --out, FOLDER/llm is the LLM with its adapter merged in, which transformers loads, and
    FOLDER/video.safetensors holds translator and heads.

    With hf://USER/NAME, the checkpoint becomes a model repository, with peft's own files where it
    has an adapter, and with a card in which licences are to be filled in. Every command that takes
    a run takes that address.

    A folder of numbered runs, such as runs/action_segmentation, stands for its newest one.
    """
    from train.loop.logs import show_progress
    from train.runs import local_run

    if (target is None) == (out is None):
        raise click.UsageError("Give either --out FOLDER or hf://USER/NAME.")
    show_progress(True)
    if target is not None:
        click.echo(_push(run, target))
        return
    from train.export import export_run

    assert out is not None
    folder = export_run(local_run(run), out)
    click.echo(f"{folder}: the LLM, merged; translator and heads beside it.")


def _push(run: str, target: Place) -> str:
    from cache_schema.hub.address import hub_address
    from train.runs import local_run
    from train.sharing.push_run import push_run

    if not (isinstance(target, Address) and target.is_hub):
        raise click.UsageError(
            f"{target}: a run is sent to hf://USER/NAME; for a folder use --out."
        )
    return push_run(local_run(run), hub_address(target, "model")).text()


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(export)
