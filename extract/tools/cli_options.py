"""What commands of ``vllm-store`` have in common: arguments, options, progress bars."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cache_schema.place import Place
from cache_schema.place_option import PLACE

if TYPE_CHECKING:
    from cache_schema.store import Store

__all__ = ["JSON", "QUIET", "STORE", "STREAM", "bar", "row_bar"]

STORE = click.argument("path", metavar="STORE", type=PLACE)
STREAM = click.option("--stream", "stream_name", help="Name of the stream.")
QUIET = click.option(
    "--unsealed-older-than",
    "quiet_hours",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="HOURS",
    help="Leave a killed writer's part alone until nothing was written to it for this long.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@contextmanager
def row_bar(
    name: str, source: "Place | Store", *, hidden: bool
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar over the rows of a store."""
    from cache_schema.store import Store, open_store

    store = source if isinstance(source, Store) else open_store(source, lambda error: None)
    total = sum(stream.num_rows for stream in store.streams.values())
    with bar(name, total, " row", hidden=hidden) as advance:
        yield advance


@contextmanager
def bar(
    name: str, total: int | None, unit: str, *, hidden: bool
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on stderr if that is a terminal."""
    from tqdm import tqdm

    hidden = hidden or not sys.stderr.isatty()
    with tqdm(total=total, desc=name, unit=unit, unit_scale=True, disable=hidden) as bar:
        yield bar.update
