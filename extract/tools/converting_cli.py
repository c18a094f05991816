"""``vllm-store export``, ``compact`` and ``index``: features out of and within a store."""

import json
from dataclasses import asdict

import click

from cache_schema.place import Address, Place
from cache_schema.place_option import PLACE
from extract.tools.cli_options import JSON, QUIET, STORE, bar, row_bar

__all__ = ["compact", "export", "index"]


@click.command()
@STORE
@click.argument("target", type=PLACE, metavar="TARGET")
@JSON
def export(path: Place, target: Place, as_json: bool) -> None:
    """Copy a store to TARGET: .zarr, .h5, or a folder to fill with .npy files.

    Videos that a TARGET store already holds are skipped, so the same command finishes a broken
    copy. A folder gets <stream>/features/<video id>.npy (rows; bfloat16 becomes float32, which
    holds the same values) and <stream>/times/<video id>.npy (start and end seconds), and what is
    there is replaced.
    """
    from cache_schema.convert.npy_export import export_npy
    from cache_schema.convert.transfer import copy_store
    from cache_schema.store import is_hdf5, open_store

    store = open_store(path)
    with row_bar("export", store, hidden=as_json) as advance:
        if isinstance(target, Address) or is_hdf5(target) or target.suffix == ".zarr":
            num_videos = copy_store(store, target, advance)
        else:
            num_videos = export_npy(store, target, advance)
    found = {"target": str(target), "videos_copied": num_videos}
    text = f"{num_videos} videos copied to {target}."
    click.echo(json.dumps(found, indent=1) if as_json else text)


@click.command()
@STORE
@QUIET
@JSON
def compact(path: Place, quiet_hours: float, as_json: bool) -> None:
    """Merge small and unsealed parts into big ones and drop rows no reader sees.

    A part whose writer lives is never touched. Killed at any instant, the store reads the same.
    """
    from cache_schema.convert.compact import compact_store

    with bar("compact", None, " row", hidden=as_json) as advance:
        done = compact_store(path, quiet_seconds=quiet_hours * 3600, progress=advance)
    if as_json:
        click.echo(json.dumps([asdict(stream) for stream in done], indent=1))
        return
    for stream in done:
        click.echo(
            f"{stream.stream}: {stream.parts_before} parts -> {stream.parts_after}, "
            f"{stream.videos_moved} videos moved."
        )
        for part, reason in stream.left_alone.items():
            click.echo(f"  {part} was left alone: {reason}.")


@click.command()
@STORE
@JSON
def index(path: Place, as_json: bool) -> None:
    """Name the parts of a store in a file, for readers who get it from a web server.

    Such a server lists nothing: https://... is read by this index. Make it again after compaction,
    and whenever there is more to be seen.
    """
    from cache_schema.convert.index import write_index

    parts = write_index(path)
    text = "\n".join(f"{name}: {count} parts" for name, count in parts.items())
    click.echo(json.dumps(parts, indent=1) if as_json else text)
