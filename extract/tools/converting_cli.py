"""``vllm-store import``, ``export`` and ``compact``: features into, out of and within a store."""

import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import click

from extract.tools.cli_options import JSON, QUIET, STORE, bar, row_bar

__all__ = ["compact", "export", "import_command"]


def _fraction(context: click.Context, parameter: click.Parameter, value: str) -> Fraction:
    try:
        number = Fraction(value)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise click.BadParameter(f"'{value}' is not a positive number such as 15 or 30000/1001.")
    return number


@click.command(name="import")
@click.argument("source", type=click.Path(path_type=Path))
@STORE
@click.option("--stream", "stream_name", required=True, help="Name of the stream to fill.")
@click.option(
    "--fps", required=True, callback=_fraction, help="Frames per second the network was shown."
)
@click.option(
    "--window", required=True, type=click.IntRange(min=1), help="Frames that made one row."
)
@click.option(
    "--stride", required=True, type=click.IntRange(min=1), help="Frames between rows' starts."
)
@click.option("--key", help="Name of the array inside each .npz, .pt or .h5 file.")
@click.option("--transpose", is_flag=True, help="Files hold (D, T) instead of (T, D).")
@click.option(
    "--dtype",
    default="float16",
    show_default=True,
    type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Dtype to store.",
)
@JSON
def import_command(
    source: Path,
    path: Path,
    stream_name: str,
    fps: Fraction,
    window: int,
    stride: int,
    as_json: bool,
    **reading: object,
) -> None:
    """Import feature files that others made (.npy, .npz, .pt, .h5; folder or file).

    Row k of a video spans WINDOW frames from frame k * STRIDE on, at FPS frames per second. The
    id of a video is its path below SOURCE without suffix. Videos already there are skipped.

    \b
    Example: I3D features, one row per frame at 15 frames per second
      vllm-store import i3d/ feats.zarr --stream i3d --fps 15 --window 1 --stride 1
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    from extract.tools.import_features import ImportSettings, import_features

    settings = ImportSettings(
        stream=stream_name,
        fps=fps,
        window_frames=window,
        stride_frames=stride,
        store_dtype=reading["dtype"],  # type: ignore[arg-type]  # click.Choice has checked it
        key=reading["key"],  # type: ignore[arg-type]
        transpose=bool(reading["transpose"]),
    )
    with bar("import", None, " file", hidden=as_json) as advance:
        report = import_features(source, path, settings, advance)
    text = (
        f"{report.videos_imported} videos ({report.rows_imported} rows) imported into "
        f"'{report.stream}', {report.videos_skipped} were there already."
    )
    click.echo(json.dumps(asdict(report), indent=1) if as_json else text)


@click.command()
@STORE
@click.argument("target", type=click.Path(path_type=Path))
@JSON
def export(path: Path, target: Path, as_json: bool) -> None:
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
    is_store = is_hdf5(target) or target.suffix == ".zarr"
    with row_bar("export", store, hidden=as_json) as advance:
        num_videos = (copy_store if is_store else export_npy)(store, target, advance)
    found = {"target": str(target), "videos_copied": num_videos}
    text = f"{num_videos} videos copied to {target}."
    click.echo(json.dumps(found, indent=1) if as_json else text)


@click.command()
@STORE
@QUIET
@JSON
def compact(path: Path, quiet_hours: float, as_json: bool) -> None:
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
