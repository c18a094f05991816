"""Fill a stream with features that others made, under a declared time base.

Nothing in a feature file says how its rows lie in time, so the user does: frames per second of
the frames the network saw, frames per row and frames between rows. The stream is marked
``imported`` and its recipe says ``unknown`` wherever nobody knows.

Shapes: T rows of one video, D feature dim, N tokens per row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import google_crc32c
import numpy as np
import torch

from cache_schema.errors import SourceError
from cache_schema.proof.blocks import little_endian
from cache_schema.recipe import UNKNOWN, EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord
from cache_schema.store import StreamWriter, create_store, open_store
from cache_schema.stream import Array, Stream, as_float32
from cache_schema.timeline import RowClock
from extract.encode.batching import to_stored
from extract.tools.feature_files import FeatureFile, find_feature_files, read_features
from extract.tools.feature_layout import refuse_other_layout

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
    """Name of the array inside each file."""
    transpose: bool = False
    """Whether files hold (D, T) instead of (T, D)."""

    def recipe(self) -> Recipe:
        """Return the recipe of the stream."""
        return Recipe(
            origin="imported",
            encoder=EncoderRecipe(
                id=self.stream, weights_sha256=UNKNOWN, compute_dtype="unknown", pooling="unknown"
            ),
            sampling=SamplingRecipe(
                fps=self.fps,
                frames_per_window=self.window_frames,
                stride_frames=self.stride_frames,
            ),
            preprocess=None,
            decoder=None,
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
    out: Path,
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
        SourceError: before anything is written, if by their shapes the files lie the other way;
            else naming the first file that cannot be imported, or that has changed since it was.
            Files before it stay imported.
    """
    files = find_feature_files(source, settings.key)
    held = open_store(out).streams.get(settings.stream) if out.exists() else None
    if held is None:  # else the stream's own rows tell
        refuse_other_layout(files, transpose=settings.transpose)
    report = ImportReport(stream=settings.stream)
    row_shape = held.row_shape if held else _rows(files[0], settings).shape[1:]
    writer = create_store(out)
    try:
        stream = writer.stream(settings.stream, settings.recipe(), row_shape)
        for file in files:
            _import_one(file, settings, held, row_shape, stream, report)
            progress(1)
    finally:
        writer.close()
    return report


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
    clock = RowClock(settings.recipe().sampling, end_seconds=math.inf)
    times_R2 = clock.times(0, len(rows))
    stream.append(rows)
    stream.commit(_video(file, settings, len(rows), float(times_R2[-1, 1])), times_R2)
    report.videos_imported += 1
    report.rows_imported += len(rows)


def _rows(file: FeatureFile, settings: ImportSettings) -> Array:
    """Return (T, D) or (T, N, D) in the stored dtype."""
    values = read_features(file)
    if settings.transpose and values.ndim == 2:
        values = values.T
    if values.ndim not in (2, 3) or 0 in values.shape or (settings.transpose and values.ndim != 2):
        expected = "(D, T)" if settings.transpose else "(T, D) or (T, tokens, D)"
        raise SourceError(f"{file}: has shape {values.shape}, expected {expected}, nothing empty.")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).reshape(len(values), -1).all(axis=1)).sum())
        raise SourceError(f"{file}: {bad} of {len(values)} rows hold NaN or infinity.")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    rows = to_stored(torch.from_numpy(native), settings.store_dtype)
    if not np.isfinite(as_float32(rows, settings.store_dtype)).all():
        raise SourceError(
            f"{file}: values up to {np.abs(values).max():g} do not fit {settings.store_dtype}. "
            "Use --dtype float32."
        )
    return rows


def _check_unchanged(file: FeatureFile, rows: Array, held: Stream) -> None:
    commit = held.commit(file.video_id)
    same_bytes = google_crc32c.value(little_endian(rows)) == commit.features_crc32c
    if len(rows) != commit.num_rows or not same_bytes:
        raise SourceError(
            f"{file}: has changed since '{file.video_id}' was imported ({commit.num_rows} rows "
            f"then, {len(rows)} now). Import it into another --stream."
        )


def _video(
    file: FeatureFile, settings: ImportSettings, num_rows: int, end_seconds: float
) -> VideoRecord:
    return VideoRecord(
        id=file.video_id,
        path=str(file.path),
        digest=UNKNOWN,
        size_bytes=file.path.stat().st_size,
        duration_seconds=end_seconds,
        fps=settings.fps,
        num_frames=(num_rows - 1) * settings.stride_frames + settings.window_frames,
        width=0,
        height=0,
        decoder="imported",
        padded_frames=0,
    )
