"""``vllm-store push`` and ``pull``: stores to and from a hub or a bucket."""

import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cache_schema.place import Address, Place
from cache_schema.place_option import PLACE
from extract.tools.cli_options import JSON, STORE, bar

if TYPE_CHECKING:
    from cache_schema.sharing.transfer import Transfer

__all__ = ["pull", "push"]

DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what is missing, and change nothing.")


@click.command()
@STORE
@click.argument("target", metavar="TARGET", type=PLACE)
@DRY_RUN
@JSON
def push(path: Place, target: Place, dry_run: bool, as_json: bool) -> None:
    """Send a store to TARGET: hf://datasets/USER/NAME[@BRANCH], or a bucket (s3://...).

    Only videos that TARGET lacks are sent, so the same command goes on after any end, and sends
    what was extracted since. A repository of a hub that is not there is made, private, with a card
    (README.md) in which licences are to be filled in; what is filled in stays.

    \b
    Example:
      vllm-store push feats.zarr hf://datasets/lab/kitchen-clip
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    there = _address(target)
    goes = _to_hub(path, there) if there.is_hub else _copy(path, there)
    _transfer(goes, "push", dry_run, as_json)


@click.command()
@click.argument("source", metavar="SOURCE", type=PLACE)
@click.argument("target", metavar="STORE", type=PLACE)
@DRY_RUN
@JSON
def pull(source: Place, target: Place, dry_run: bool, as_json: bool) -> None:
    """Fetch a store from SOURCE: hf://datasets/USER/NAME[@REVISION], or a bucket (s3://...).

    Only videos that STORE lacks are fetched, so the same command goes on after any end.

    \b
    Example:
      vllm-store pull hf://datasets/lab/kitchen-clip feats.zarr
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    there = _address(source)
    comes = _from_hub(there, target) if there.is_hub else _copy(there, target)
    _transfer(comes, "pull", dry_run, as_json)


def _address(place: Place) -> Address:
    if isinstance(place, Address):
        return place
    raise click.UsageError(
        f"{place}: is no address such as hf://datasets/USER/NAME or s3://BUCKET/NAME.zarr. "
        "Within this machine, vllm-store export copies."
    )


def _to_hub(path: Place, target: Address) -> AbstractContextManager["Transfer"]:
    from cache_schema.hub.address import hub_address
    from cache_schema.sharing.push import planned_push

    return planned_push(path, hub_address(target, "dataset"))


def _from_hub(source: Address, target: Place) -> AbstractContextManager["Transfer"]:
    from cache_schema.hub.address import hub_address
    from cache_schema.sharing.pull import planned_pull

    return planned_pull(hub_address(source, "dataset"), target)


def _copy(source: Place, target: Place) -> AbstractContextManager["Transfer"]:
    from cache_schema.sharing.bucket import planned_copy

    return planned_copy(source, target)


def _transfer(
    planned: AbstractContextManager["Transfer"], name: str, dry_run: bool, as_json: bool
) -> None:
    with planned as transfer, bar(name, transfer.bar_rows, " row", hidden=as_json) as advance:
        done = transfer.outlook if dry_run else transfer.run(advance)
    if as_json:
        click.echo(json.dumps({**asdict(done), "dry_run": dry_run}, indent=1))
        return
    verb = "to bring" if dry_run else "brought"
    click.echo(
        f"{done.target}: {done.num_videos} videos ({done.num_rows} rows) {verb} from "
        f"{done.source}, {done.num_held} were there."
    )
    if done.is_new:
        from cache_schema.hub.address import NEW_REPOSITORY

        click.echo(NEW_REPOSITORY)
