"""``vllm-store``: look at, check, repair, import into, convert and compact feature stores."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cache_schema.proof.report import Problem
    from cache_schema.store import Store
    from cache_schema.stream import Stream
    from extract.tools.recompute import RowDifference

__all__ = ["main", "store_command"]

STORE = click.argument("path", metavar="STORE", type=click.Path(path_type=Path))
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


def _fraction(context: click.Context, parameter: click.Parameter, value: str) -> Fraction:
    try:
        number = Fraction(value)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise click.BadParameter(f"'{value}' is not a positive number such as 15 or 30000/1001.")
    return number


def main() -> None:
    """Run the command; errors become one sentence and an exit code."""
    from cache_schema.cli_edge import run

    run(store_command)


@click.group(name="vllm-store")
def store_command() -> None:
    """Look at, check and convert feature stores (.zarr folders and .h5 files)."""


@store_command.command()
@STORE
@STREAM
@JSON
def ls(path: Path, stream_name: str | None, as_json: bool) -> None:
    """List the videos of a store: id, rows, seconds."""
    from cache_schema.store import open_store

    store = open_store(path)
    streams = [store.stream(stream_name)] if stream_name else list(store.streams.values())
    if as_json:
        videos = {stream.name: list(_videos(stream)) for stream in streams}
        click.echo(json.dumps(videos, indent=1, ensure_ascii=False))
        return
    for stream in streams:
        for video in _videos(stream):
            seconds = f"{video['duration_seconds']:.3f} s"
            click.echo(f"{stream.name}\t{video['id']}\t{video['num_rows']} rows\t{seconds}")


@store_command.command()
@STORE
@click.option("--digest", is_flag=True, help="Add the SHA-256 over all streams, times and rows.")
@JSON
def info(path: Path, digest: bool, as_json: bool) -> None:
    """Say what a store holds, stream by stream.

    Two stores have the same --digest exactly when readers get the same from them, whatever the
    backend and however the rows are laid out in parts.
    """
    from cache_schema.proof.digest import store_digest
    from cache_schema.store import open_store

    store = open_store(path)
    found: dict[str, object] = {"streams": {s.name: _info(s) for s in store.streams.values()}}
    if digest:
        with _row_bar("digest", store, hidden=as_json) as advance:
            found["digest"] = store_digest(store, advance)
    click.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else _info_text(found))


@store_command.command()
@STORE
@click.option("--recompute", type=click.IntRange(min=1), help="Decode and encode N rows again.")
@click.option("--seed", default=0, show_default=True, help="Which rows --recompute draws.")
@click.option(
    "--encoder",
    help="Where to load the encoder from (a folder, ./file.py:Name), if not by its name.",
)
@STREAM
@JSON
@click.pass_context
def verify(
    context: click.Context,
    /,
    path: Path,
    recompute: int | None,
    seed: int,
    encoder: str | None,
    stream_name: str | None,
    as_json: bool,
) -> None:
    """Recompute every checksum and check times, values and files.

    With --recompute N, N random rows of the stream (--stream, if there are several) are decoded
    and encoded again from the videos and compared.

    Exit codes: 0 nothing wrong, 1 problems were found.
    """
    from cache_schema.proof.verify import verify_store
    from cache_schema.store import open_store

    with _row_bar("verify", path, hidden=as_json) as advance:
        report = verify_store(path, advance)
    problems, rows = report.problems, list["RowDifference"]()
    if recompute:
        from extract.tools.recompute import recompute_rows

        stream = open_store(path, lambda damage: None).stream(stream_name)
        again = recompute_rows(stream, recompute, seed, encoder)
        problems, rows = [*problems, *again.problems], again.rows
    different = [row for row in rows if not row.ok]
    if as_json:
        found = {
            **asdict(replace(report, problems=problems)),
            "recomputed": [asdict(row) for row in rows],
        }
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _show_verification(problems, report.notes, rows)
        click.echo(
            f"{report.num_videos} videos, {report.num_rows} rows checked; {len(rows)} rows made "
            f"again: {len(problems) + len(different)} problems."
        )
    context.exit(1 if problems or different else 0)


@store_command.command()
@STORE
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be put back.")
@QUIET
@JSON
@click.pass_context
def repair(
    context: click.Context, /, path: Path, dry_run: bool, quiet_hours: float, as_json: bool
) -> None:
    """Put back the files a .zarr store lost, as far as what is left proves what they were.

    Headers, the journal and the end of the shard files of sealed parts, and nothing else: no row
    is ever written, no part is touched whose writer lives. Then the store is verified, which names
    what stays lost. An .h5 file is only verified.

    Exit codes: 0 nothing is wrong (any more), 1 problems are left.
    """
    from cache_schema.repair.store import repair_store

    with _row_bar("verify", path, hidden=as_json) as advance:
        done = repair_store(
            path, quiet_seconds=quiet_hours * 3600, dry_run=dry_run, progress=advance
        )
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1, ensure_ascii=False))
    else:
        for sentence in done.mended:
            click.echo(f"{'would put back' if dry_run else 'put back'}: {sentence}")
        for place, reason in done.left_alone.items():
            click.echo(f"left alone: {place}: {reason}.")
        _show_verification(done.report.problems, [], [])
        click.echo(
            f"{len(done.mended)} files {'to put' if dry_run else 'put'} back; "
            f"{len(done.report.problems)} problems left."
        )
    context.exit(1 if done.report.problems else 0)


@store_command.command(name="import")
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
    with _bar("import", None, " file", hidden=as_json) as advance:
        report = import_features(source, path, settings, advance)
    text = (
        f"{report.videos_imported} videos ({report.rows_imported} rows) imported into "
        f"'{report.stream}', {report.videos_skipped} were there already."
    )
    click.echo(json.dumps(asdict(report), indent=1) if as_json else text)


@store_command.command()
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
    with _row_bar("export", store, hidden=as_json) as advance:
        num_videos = (copy_store if is_store else export_npy)(store, target, advance)
    found = {"target": str(target), "videos_copied": num_videos}
    text = f"{num_videos} videos copied to {target}."
    click.echo(json.dumps(found, indent=1) if as_json else text)


@store_command.command()
@STORE
@QUIET
@JSON
def compact(path: Path, quiet_hours: float, as_json: bool) -> None:
    """Merge small and unsealed parts into big ones and drop rows no reader sees.

    A part whose writer lives is never touched. Killed at any instant, the store reads the same.
    """
    from cache_schema.convert.compact import compact_store

    with _bar("compact", None, " row", hidden=as_json) as advance:
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


def _videos(stream: "Stream") -> Iterator[dict[str, object]]:
    for video_id in stream.video_ids:
        commit = stream.commit(video_id)
        yield {
            "id": video_id,
            "num_rows": commit.num_rows,
            "duration_seconds": commit.video.duration_seconds,
            "path": commit.video.path,
            "digest": commit.video.digest,
        }


def _info(stream: "Stream") -> dict[str, object]:
    from cache_schema.parsing import to_mapping

    return {
        "fingerprint": stream.recipe.fingerprint,
        "num_videos": len(stream.video_ids),
        "num_rows": stream.num_rows,
        "row_shape": list(stream.row_shape),
        "feature_bytes": stream.num_rows * stream.row_bytes,
        "video_seconds": sum(video.duration_seconds for video in stream.videos()),
        "num_parts": len(stream.parts),
        "recipe": to_mapping(stream.recipe),
        "encoder_source": stream.encoder_source,
    }


def _info_text(found: dict[str, object]) -> str:
    lines = []
    for name, stream in found["streams"].items():  # type: ignore[attr-defined]
        recipe = stream["recipe"]
        sampling = recipe["sampling"]
        no_rate = "every frame" if recipe["origin"] == "extracted" else "times of its own"
        rate = f"{sampling['fps']} frames/s" if sampling["fps"] else no_rate
        lines += [
            f"{name}  ({recipe['origin']}, fingerprint {stream['fingerprint'][:12]})",
            f"  {stream['num_videos']} videos, {stream['video_seconds'] / 3600:.2f} h, "
            f"{stream['num_rows']} rows of {recipe['store_dtype']} {tuple(stream['row_shape'])}, "
            f"{stream['feature_bytes'] / 1e6:.1f} MB in {stream['num_parts']} parts",
            f"  encoder {recipe['encoder']['id']}; {rate}, {sampling['frames_per_window']} to a "
            f"row, {sampling['stride_frames']} between rows",
        ]
        if source := stream["encoder_source"]:
            lines.append(f"  encoder loaded from {source}")
    if "digest" in found:
        lines.append(f"digest {found['digest']}")
    return "\n".join(lines) or "no streams yet"


def _show_verification(
    problems: list["Problem"], notes: list["Problem"], rows: list["RowDifference"]
) -> None:
    for label, found in (("PROBLEM", problems), ("note", notes)):
        for problem in found:
            places = (problem.stream, problem.part, problem.video)
            where = " / ".join(place for place in places if place is not None)
            click.echo(f"{label}: {where}{': ' if where else ''}{problem.what}")
    for row in rows:
        label = "same" if row.ok else "PROBLEM"
        click.echo(
            f"{label}: {row.video_id} row {row.row}: differs by {row.max_abs:.2g} (at most "
            f"{row.tolerance:.2g}), cosine {row.cosine:.6f}"
        )


@contextmanager
def _row_bar(
    name: str, source: "Path | Store", *, hidden: bool
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar over the rows of a store."""
    from cache_schema.store import open_store

    store = open_store(source, lambda error: None) if isinstance(source, Path) else source
    total = sum(stream.num_rows for stream in store.streams.values())
    with _bar(name, total, " row", hidden=hidden) as advance:
        yield advance


@contextmanager
def _bar(
    name: str, total: int | None, unit: str, *, hidden: bool
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on stderr if that is a terminal."""
    from tqdm import tqdm

    hidden = hidden or not sys.stderr.isatty()
    with tqdm(total=total, desc=name, unit=unit, unit_scale=True, disable=hidden) as bar:
        yield bar.update
