"""``vllm-store``: look at, check, repair, fill, convert, compact and share feature stores."""

import click

from extract.tools.converting_cli import compact, export, index
from extract.tools.importing_cli import import_command
from extract.tools.looking_cli import info, ls, report
from extract.tools.proving_cli import repair, verify
from extract.tools.sharing_cli import pull, push

__all__ = ["main", "store_command"]


def main() -> None:
    """Run the command; errors become one sentence and an exit code."""
    from cache_schema.cli_edge import run

    run(store_command)


@click.group(name="vllm-store", context_settings={"help_option_names": ["-h", "--help"]})
def store_command() -> None:
    """Look at, check and convert feature stores (.zarr folders, .h5 files, buckets)."""


COMMANDS = (ls, info, report, verify, repair, import_command, export, compact, index, push, pull)

for command in COMMANDS:
    store_command.add_command(command)
