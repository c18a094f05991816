"""``vllm-store ls``, ``info`` and ``report``: look at a store."""

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cache_schema.place import Place
from extract.tools.cli_options import JSON, STORE, STREAM, bar, row_bar

if TYPE_CHECKING:
    from cache_schema.stream import Stream

__all__ = ["info", "ls", "report"]


@click.command()
@STORE
@STREAM
@JSON
def ls(path: Place, stream_name: str | None, as_json: bool) -> None:
    """List the videos of a store: id, rows, seconds."""
    from cache_schema.store import open_store

    store = open_store(path)
    streams = [store.stream(stream_name)] if stream_name else list(store.streams.values())
    if as_json:
        videos = {
            stream.name: [video._asdict() for video in sorted(stream.listing())]
            for stream in streams
        }
        click.echo(json.dumps(videos, indent=1, ensure_ascii=False))
        return
    for stream in streams:
        for video in sorted(stream.listing()):
            seconds = f"{video.duration_seconds:.3f} s"
            click.echo(f"{stream.name}\t{video.id}\t{video.num_rows} rows\t{seconds}")


@click.command()
@STORE
@click.option("--digest", is_flag=True, help="Add the SHA-256 over all streams, times and rows.")
@JSON
def info(path: Place, digest: bool, as_json: bool) -> None:
    """Say what a store holds, stream by stream.

    Two stores have the same --digest exactly when readers get the same from them, whatever the
    backend and however the rows are laid out in parts.
    """
    from cache_schema.proof.digest import store_digest
    from cache_schema.store import open_store

    store = open_store(path)
    found: dict[str, object] = {"streams": {s.name: _info(s) for s in store.streams.values()}}
    if digest:
        with row_bar("digest", store, hidden=as_json) as advance:
            found["digest"] = store_digest(store, advance)
    click.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else _info_text(found))


@click.command()
@STORE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The page; default: STORE.report.html, beside the store.",
)
@STREAM
@click.option(
    "--labels",
    "labels_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV with video, start, end and text: colours rows of the map by label.",
)
@click.option("--seed", default=0, show_default=True, help="Which rows and frames are drawn.")
@JSON
def report(
    path: Place,
    out: Path | None,
    stream_name: str | None,
    labels_path: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Make a page that shows whether features can be trusted; one HTML file.

    Recipe, cost and failures; frames of random rows; a map of rows; videos that show the same;
    still and black rows; dead dimensions. A sample of rows is read, whatever the store's size.

    With --json the facts are printed, and the page is made only if --out is given.

    \b
    Example:
      vllm-store report feats.zarr --out report.html
      vllm-store report feats.zarr --labels answers.csv
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    from cache_schema.page.document import write_page
    from cache_schema.store import open_store
    from extract.store_page.labels import read_labels
    from extract.store_page.measure import measure
    from extract.store_page.page import store_page

    labels = read_labels(labels_path) if labels_path else None
    store = open_store(path)
    stream = store.stream(stream_name)
    with ExitStack() as bars:
        found = measure(
            store,
            stream,
            labels=labels,
            seed=seed,
            bar=lambda *about: bars.enter_context(bar(*about, hidden=as_json)),
        )
    if out is not None or not as_json:
        name = f"{path.name}.report.html"
        # Beside the store; of one in a bucket, here.
        page = out or (path.with_name(name) if isinstance(path, Path) else Path(name))
        write_page(store_page(found), page)
    if as_json:
        click.echo(json.dumps(found.summary(), indent=1, ensure_ascii=False))
    else:
        click.echo(f"{page}: {len(found.videos)} videos, {found.num_rows_seen} rows looked at.")


def _info(stream: "Stream") -> dict[str, object]:
    from cache_schema.parsing import to_mapping

    return {
        "fingerprint": stream.recipe.fingerprint,
        "num_videos": len(stream.video_ids),
        "num_rows": stream.num_rows,
        "row_shape": list(stream.row_shape),
        "feature_bytes": stream.num_rows * stream.row_bytes,
        "video_seconds": math.fsum(video.duration_seconds for video in stream.listing()),
        "num_parts": len(stream.parts),
        "recipe": to_mapping(stream.recipe),
        "encoder_source": stream.encoder_source,
    }


def _info_text(found: dict[str, object]) -> str:
    lines = []
    for name, stream in found["streams"].items():  # type: ignore[attr-defined]
        recipe = stream["recipe"]
        sampling = recipe["sampling"]
        is_extracted = recipe["origin"] == "extracted"
        no_rate = "every frame" if is_extracted else "times of its own"
        runtime = f" by {recipe['encoder'].get('runtime', 'torch')}" if is_extracted else ""
        rate = f"{sampling['fps']} frames/s" if sampling["fps"] else no_rate
        lines += [
            f"{name}  ({recipe['origin']}, fingerprint {stream['fingerprint'][:12]})",
            f"  {stream['num_videos']} videos, {stream['video_seconds'] / 3600:.2f} h, "
            f"{stream['num_rows']} rows of {recipe['store_dtype']} {tuple(stream['row_shape'])}, "
            f"{stream['feature_bytes'] / 1e6:.1f} MB in {stream['num_parts']} parts",
            f"  encoder {recipe['encoder']['id']}{runtime}; {rate}, "
            f"{sampling['frames_per_window']} to a row, {sampling['stride_frames']} between rows",
        ]
        if source := stream["encoder_source"]:
            lines.append(f"  encoder loaded from {source}")
    if "digest" in found:
        lines.append(f"digest {found['digest']}")
    return "\n".join(lines) or "no streams yet"
