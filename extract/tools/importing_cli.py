"""``vllm-store import``: features that others made into a store, by a preset or as declared."""

import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from cache_schema.place import Place
from cache_schema.place_option import PLACE
from extract.tools.cli_options import JSON, bar
from extract.tools.presets import PRESETS, Preset

if TYPE_CHECKING:
    from extract.tools.import_features import ImportReport

__all__ = ["import_command"]


def _fraction(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> Fraction | None:
    if value is None:
        return None
    try:
        number = Fraction(value)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise click.BadParameter(f"'{value}' is not a positive number such as 15 or 30000/1001.")
    return number


@click.command(name="import")
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.argument("path", metavar="[STORE]", required=False, type=PLACE)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    metavar="NAME",
    help="How features of a release lie in files and in time; every other flag wins over it.",
)
@click.option("--list-presets", is_flag=True, help="Show the presets, and do nothing else.")
@click.option(
    "--stream", "stream_name", help="Name of the stream to fill; the preset's name by default."
)
@click.option("--fps", callback=_fraction, help="Frames per second the network was shown.")
@click.option("--window", type=click.IntRange(min=1), help="Frames that made one row.")
@click.option("--stride", type=click.IntRange(min=1), help="Frames between rows' starts.")
@click.option(
    "--seconds-per-row",
    callback=_fraction,
    help="Instead of the three before: length of rows that lie side by side.",
)
@click.option("--key", help="Name of the array inside each .npz, .pt or .h5 file.")
@click.option(
    "--transpose/--no-transpose", default=None, help="Files hold (D, T) instead of (T, D)."
)
@click.option(
    "--dtype",
    default="float16",
    show_default=True,
    type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Dtype to store.",
)
@JSON
def import_command(
    source: Path | None,
    path: Place | None,
    preset: str | None,
    list_presets: bool,
    stream_name: str | None,
    fps: Fraction | None,
    window: int | None,
    stride: int | None,
    seconds_per_row: Fraction | None,
    as_json: bool,
    **reading: Any,  # noqa: ANN401 - click has checked them; _import names them
) -> None:
    """Import feature files that others made (.npy, .npz, .pt, .h5, LMDB; folder or file).

    Row k of a video spans WINDOW frames from frame k * STRIDE on, at FPS frames per second. The
    id of a video is its path below SOURCE without suffix. Videos already there are skipped.

    \b
    Examples: a release; features of one's own, one row per frame at 15 frames per second
      vllm-store import i3d/ feats.zarr --preset ms-tcn-i3d
      vllm-store import mine/ feats.zarr --stream mine --fps 15 --window 1 --stride 1
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    if list_presets:
        plain = [{**asdict(one), "fps": str(one.fps)} for one in PRESETS.values()]
        click.echo(json.dumps(plain, indent=1) if as_json else _table())
        return
    if source is None or path is None:
        raise click.UsageError("Give SOURCE and STORE: the features, and the store to fill.")
    chosen = None if preset is None else PRESETS[preset]
    name = stream_name or (chosen.name if chosen else None)
    if name is None:
        raise click.UsageError("Missing option '--stream': the name of the stream to fill.")
    base = _time_base(chosen, fps, window, stride, seconds_per_row)
    report = _import(source, path, name, chosen, base, hides_bar=as_json, **reading)
    text = (
        f"{report.videos_imported} videos ({report.rows_imported} rows) imported into "
        f"'{report.stream}', {report.videos_skipped} were there already."
    )
    click.echo(json.dumps(asdict(report), indent=1) if as_json else text)


class _TimeBase(NamedTuple):
    fps: Fraction
    window_frames: int
    stride_frames: int


def _time_base(
    preset: Preset | None,
    fps: Fraction | None,
    window: int | None,
    stride: int | None,
    seconds_per_row: Fraction | None,
) -> _TimeBase:
    """Return how rows lie in time: as the flags say, else as the preset does."""
    if seconds_per_row is not None:
        if fps or window or stride:
            raise click.UsageError(
                "--seconds-per-row stands for --fps, --window and --stride; give it or them."
            )
        return _TimeBase(1 / seconds_per_row, 1, 1)
    if preset is not None:
        fps = fps or preset.fps
        window = window or preset.window_frames
        stride = stride or preset.stride_frames
    if fps is None or window is None or stride is None:
        raise click.UsageError(
            "Say how rows lie in time: --preset, --seconds-per-row, or --fps, --window and "
            "--stride."
        )
    return _TimeBase(fps, window, stride)


def _import(
    source: Path,
    path: Place,
    name: str,
    preset: Preset | None,
    base: _TimeBase,
    *,
    key: str | None,
    transpose: bool | None,
    dtype: Literal["float16", "bfloat16", "float32"],
    hides_bar: bool,
) -> "ImportReport":
    from extract.tools.import_features import ImportSettings, import_features

    is_transposed = preset is not None and preset.transpose
    settings = ImportSettings(
        stream=name,
        fps=base.fps,
        window_frames=base.window_frames,
        stride_frames=base.stride_frames,
        store_dtype=dtype,
        key=key or (preset.key if preset else None),
        group_key=key,
        dim=preset.dim if preset else None,
        transpose=is_transposed if transpose is None else transpose,
    )
    with bar("import", None, " file", hidden=hides_bar) as advance:
        return import_features(source, path, settings, advance)


def _table() -> str:
    """Return a line per preset: name, D, time base, files, and what they are."""
    cells = [
        (one.name, f"D {one.dim}", _timing(one), one.files, one.what) for one in PRESETS.values()
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _timing(preset: Preset) -> str:
    step, length = (
        float(frames / preset.fps) for frames in (preset.stride_frames, preset.window_frames)
    )
    every = f"every {step:.3g} s"
    return every if step == length else f"{every}, {length:.3g} s long"
