"""``vllm-report``: the page of a run, or of several side by side."""

from pathlib import Path

import click

__all__ = ["main", "report"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the page; default RUN/report.html; ./report.html of several, or of a hub.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON object instead.")
def report(runs: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Show what runs of vllm-train have learned and what they cost, on one page.

    A folder of numbered runs, such as runs/action_segmentation, stands for its newest one;
    hf://USER/NAME is a run on a hub. A run may be going on, or have been killed: the page shows how
    far it has come.
    """
    from train.loop.logs import show_progress
    from train.pages.run_facts import read_runs

    show_progress(True)
    found = read_runs(runs)
    if as_json:
        import json

        from train.pages.run_page import run_facts_json

        click.echo(json.dumps(run_facts_json(found), indent=1))
        return
    from cache_schema.page.document import write_page
    from cache_schema.place import is_address
    from train.checkpoints.result import PAGE
    from train.pages.run_page import run_page

    is_ours = len(found) == 1 and not is_address(runs[0])
    path = out or (found[0].folder if is_ours else Path()) / PAGE
    write_page(run_page(found, path), path)
    click.echo(f"{path}: open it in a browser.")


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(report)
