"""Fill a stream with features that others made, under a declared time base.

Nothing in a feature file says how its rows lie in time, so the user does: frames per second of
the frames the network saw, frames per row and frames between rows. The stream is marked
``imported`` and its recipe says ``unknown`` wherever nobody knows.

Shapes: T rows of one video, D feature dim, N tokens per row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import google_crc32c

from cache_schema.errors import SourceError
from cache_schema.place import Place
from cache_schema.proof.blocks import little_endian
from cache_schema.recipe import Recipe
from cache_schema.row_writer import checked_rows, imported_recipe, imported_times, imported_video
from cache_schema.store import StreamWriter, create_store, open_store, store_exists
from cache_schema.stored_numbers import Array
from cache_schema.stream import Stream
from extract.tools.feature_files import FeatureFile, find_feature_files, read_features
from extract.tools.feature_layout import known_shapes, refuse_other_layout

__all__ = ["ImportReport", "ImportSettings", "import_features"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportSettings:
    """What the user declares about foreign features."""

    stream: str
    fps: Fraction
    """Frames per second of video time that the network was shown."""
    window_frames: int
    """Frames that made one row."""
    stride_frames: int
    """Frames between the starts of consecutive rows."""
    store_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    key: str | None = None
    """Name of the array inside each .npz or .pt file."""
    group_key: str | None = None
    """Name of the dataset inside each video's group of an HDF5 file; None if the datasets are the
    videos."""
    dim: int | None = None
    """D, where it is known; files with another one are refused."""
    transpose: bool = False
    """Whether files hold (D, T) instead of (T, D)."""

    def recipe(self) -> Recipe:
        """Return the recipe of the stream."""
        return imported_recipe(
            self.stream,
            fps=self.fps,
            window_frames=self.window_frames,
            stride_frames=self.stride_frames,
            store_dtype=self.store_dtype,
        )


@dataclass(kw_only=True)
class ImportReport:
    """What an import did."""

    stream: str
    videos_imported: int = 0
    videos_skipped: int = 0
    """Already there, with the same rows."""
    rows_imported: int = 0


def import_features(
    source: Path,
    out: Place,
    settings: ImportSettings,
    progress: Callable[[int], object] = lambda num_files: None,
) -> ImportReport:
    """Import every feature file of a folder; what is already there is skipped.

    Args:
        source: Folder or file, see ``find_feature_files``.
        out: Store to fill; made if it is not there.
        settings: The declared time base and how to read the files.
        progress: Called with 1 after each file.

    Raises:
        SourceError: before anything is written, if by their shapes the files lie the other way, or
            have another D than the release (where headers are no cheap read, the first files are
            looked at); else naming the first file that cannot be imported, or that has changed.
            Files before it stay imported.
    """
    files = find_feature_files(source, settings.key, settings.group_key)
    held = open_store(out).streams.get(settings.stream) if store_exists(out) else None
    if held is None:  # else the stream's own rows tell
        refuse_other_layout(files, transpose=settings.transpose)
    _refuse_other_dim(files, settings)
    report = ImportReport(stream=settings.stream)
    row_shape = held.row_shape if held else _rows(files[0], settings).shape[1:]
    with create_store(out, of_copies=True) as writer:
        stream = writer.stream(settings.stream, settings.recipe(), row_shape)
        for file in files:
            _import_one(file, settings, held, row_shape, stream, report)
            progress(1)
    return report


def _refuse_other_dim(files: Sequence[FeatureFile], settings: ImportSettings) -> None:
    if settings.dim is None:
        return
    for file, shape in known_shapes(files):
        rows = shape[::-1] if settings.transpose else shape
        if rows[-1:] != (settings.dim,):
            raise SourceError(_other_dim(file, rows, settings))


def _import_one(
    file: FeatureFile,
    settings: ImportSettings,
    held: Stream | None,
    row_shape: tuple[int, ...],
    stream: StreamWriter,
    report: ImportReport,
) -> None:
    rows = _rows(file, settings)
    if rows.shape[1:] != row_shape:
        raise SourceError(
            f"{file}: has rows of shape {rows.shape[1:]}, the stream '{settings.stream}' has "
            f"{row_shape}. Check --transpose and --key, or import it into another --stream."
        )
    if held is not None and file.video_id in held:
        _check_unchanged(file, rows, held)
        report.videos_skipped += 1
        return
    recipe = settings.recipe()
    times_R2 = imported_times(recipe, len(rows))
    size_bytes = file.path.stat().st_size
    video = imported_video(
        file.video_id, recipe, times_R2, path=str(file.path), size_bytes=size_bytes
    )
    stream.append(rows, are_finite=True)  # so says checked_rows
    stream.commit(video, times_R2)
    report.videos_imported += 1
    report.rows_imported += len(rows)


def _rows(file: FeatureFile, settings: ImportSettings) -> Array:
    """Return (T, D) or (T, N, D) in the stored dtype."""
    values = read_features(file)
    if settings.transpose:
        if values.ndim != 2:
            raise SourceError(f"{file}: has shape {values.shape}, expected (D, T).")
        values = values.T
    if settings.dim is not None and values.shape[-1] != settings.dim:
        raise SourceError(_other_dim(file, values.shape, settings))
    try:
        return checked_rows(values, settings.store_dtype)
    except ValueError as error:
        raise SourceError(f"{file}: {error}.") from error


def _other_dim(file: FeatureFile, shape: tuple[int, ...], settings: ImportSettings) -> str:
    """Say what is wrong with (T, D) rows that have another D than the release."""
    order, flag = ("D, T", "--no-transpose") if settings.transpose else ("T, D", "--transpose")
    lies_other_way = len(shape) == 2 and shape[0] == settings.dim
    advice = f"Give {flag}" if lies_other_way else "Import them without the preset, or with another"
    own = shape[::-1] if settings.transpose else shape
    return f"{file}: has shape {own}, expected ({order}) with D = {settings.dim}. {advice}."


def _check_unchanged(file: FeatureFile, rows: Array, held: Stream) -> None:
    commit = held.commit(file.video_id)
    same_bytes = google_crc32c.value(little_endian(rows)) == commit.features_crc32c
    if len(rows) != commit.num_rows or not same_bytes:
        raise SourceError(
            f"{file}: has changed since '{file.video_id}' was imported ({commit.num_rows} rows "
            f"then, {len(rows)} now). Import it into another --stream."
        )
