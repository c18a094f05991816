"""Prove stored rows: decode and encode some of them again, and compare."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.errors import StoreError, VideoError
from cache_schema.place import Place, recorded_place
from cache_schema.proof.report import Problem
from cache_schema.recipe import Recipe
from cache_schema.records import VideoRecord
from cache_schema.stored_numbers import as_float32
from cache_schema.stream import Stream
from extract.config import ExtractConfig
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames
from extract.encode.batching import EncodeQueue, NotFinite, Result, Rows
from extract.encode.cpu_threads import EncodeThreads, threads_for
from extract.encode.encoders.whereabouts import found_encoder
from extract.encode.network_input import network_input
from extract.encode.windows import WindowAssembler
from extract.plan.targets import Target, build_targets, check_recipe, config_of
from extract.sources.videos import content_digest
from extract.tools.found_videos import found_below

__all__ = ["Recomputed", "RowDifference", "recompute_rows"]

Floats = NDArray[np.float32]

TOLERANCE = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 3e-2}
"""Largest difference relative to the row's largest value, by compute dtype: another machine sums
in another order, another recipe differs by far more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowDifference:
    """One stored row beside the same row made again."""

    video_id: str
    row: int
    max_abs: float
    cosine: float
    tolerance: float
    """On ``max_abs``."""
    ok: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Recomputed:
    """What making rows again showed."""

    rows: list[RowDifference]
    problems: list[Problem]
    """Videos whose rows could not be made again: the file is another one, or gone."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Drawn:
    """A stored row that is to be made again."""

    video_id: str
    row: int
    stored: Floats


def recompute_rows(
    stream: Stream,
    num_rows: int,
    seed: int = 0,
    encoder: str | None = None,
    videos: Place | None = None,
) -> Recomputed:
    """Decode and encode random rows of a stream again.

    A video whose file is not the one its rows were made from is named, and the others are gone on
    with: the file that is there says nothing about the rows.

    Args:
        stream: Extracted, not imported.
        num_rows: How many rows to draw, with equal chances for all rows of the stream.
        seed: Of the draw.
        encoder: Where to load the encoder from; None takes where the stream says it came from,
            if that can be found here, else the recipe's id.
        videos: A folder that has some of the videos, of which alone rows are then drawn; None if
            they are still where they were.

    Raises:
        StoreError: if the stream was imported, the recipe cannot be met, or no video is there.
    """
    recipe = stream.recipe
    if recipe.origin != "extracted":
        raise StoreError(f"stream '{stream.name}' was imported: nothing says how to make its rows.")
    paths = None if videos is None else found_below(videos, stream)
    target = _target(stream, encoder)
    drawn: dict[str, list[int]] = defaultdict(list)
    ids = stream.video_ids if paths is None else sorted(paths)
    ends = np.cumsum([stream.rows_of(video_id) for video_id in ids])
    picks = np.random.default_rng(seed).choice(ends[-1], min(num_rows, ends[-1]), replace=False)
    for pick in sorted(picks.tolist()):
        video = int(np.searchsorted(ends, pick, side="right"))
        drawn[ids[video]].append(pick - (int(ends[video - 1]) if video else 0))
    done = Recomputed(rows=[], problems=[])
    windows = _drawn_windows(stream, target, drawn, paths, done.problems)
    for one, made in _rows_again(target, windows):
        done.rows.append(_difference(one, made, recipe))
    return done


def _target(stream: Stream, encoder: str | None) -> Target:
    recipe = stream.recipe
    with found_encoder(recipe.encoder, encoder, stream.encoder_source) as name:
        target = build_targets(config_of(recipe, name), None)[0]
    check_recipe(recipe, target.recipe)
    return target


def _drawn_windows(
    stream: Stream,
    target: Target,
    drawn: Mapping[str, list[int]],
    paths: Mapping[str, Place] | None,
    problems: list[Problem],
) -> Iterator[tuple[_Drawn, Tensor]]:
    """Yield the drawn rows of all videos and their windows; note what cannot be made again."""
    for video_id, rows in drawn.items():
        try:
            place = None if paths is None else paths[video_id]
            path = _same_file(stream.commit(video_id).video, place)
            stored = as_float32(stream.read(video_id).values, stream.recipe.store_dtype)
            for row, window_FCHW in _windows(target, path, rows, len(stored)):
                yield _Drawn(video_id=video_id, row=row, stored=stored[row]), window_FCHW
        except (VideoError, StoreError) as error:
            problems.append(Problem(stream=stream.name, video=video_id, what=str(error)))


def _same_file(video: VideoRecord, place: Place | None) -> Place:
    """Return a video's file if it is the one its rows were made from.

    Args:
        video: Its record.
        place: Where it is now; None if it should be where it was.

    Raises:
        VideoError: if it is gone, cannot be read, or is another one.
    """
    path = place or recorded_place(video.path)
    if isinstance(path, Path) and not path.exists():
        raise VideoError(
            f"its file {path} is not there any more. Run this where the videos lie, with the "
            "paths they were extracted from, or name their folder with --videos."
        )
    try:
        digest = content_digest(path)
    except VideoError as error:
        raise VideoError(f"its file {path} {error}") from error
    if digest != video.digest:
        raise VideoError(
            f"its file {path} was changed since its rows were made: its digest is {digest}, "
            f"recorded is {video.digest}. Put the old file back, or extract into a new store."
        )
    return path


def _windows(
    target: Target, path: Place, rows: Sequence[int], num_stored: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the windows of some rows of a video, in their order.

    Raises:
        VideoError: if the video cannot be read, or does not have all of them.
    """
    missing = sorted(rows, reverse=True)
    for row, window_FCHW in enumerate(_all_windows(target, path)):
        if row == missing[-1]:
            yield missing.pop(), window_FCHW
        if not missing:
            return  # what follows in the video need not be decoded
    raise VideoError(
        f"its file {path} is the same and makes no row {missing[-1]} any more, of {num_stored} "
        "that are stored; another version of the decoder may read it."
    )


def _all_windows(target: Target, path: Place) -> Iterator[Tensor]:
    assert target.recipe.decoder is not None
    sampling = target.recipe.sampling
    windows = WindowAssembler(sampling.frames_per_window, sampling.stride_frames)
    source = open_video(path, target.recipe.decoder.backend)
    for frame in sample_frames(source, sampling.fps, []):
        for pixels_CHW in network_input(target.encoder, [frame]):
            yield from windows.push(pixels_CHW, frame.num_ticks)
    yield from windows.finish()


def _rows_again(
    target: Target, windows: Iterable[tuple[_Drawn, Tensor]]
) -> Iterator[tuple[_Drawn, Floats]]:
    """Encode windows as stage 1 does: in batches of one size, each on one thread of a CPU.

    So the bits are those that are stored, where the machine is the one that made them and the size
    is the usual one; no store says which it was.
    """
    dtype = target.recipe.store_dtype
    with EncodeThreads(threads_for(1)) as threads:
        queue: EncodeQueue[_Drawn] = EncodeQueue(
            target.encoder, threads, ExtractConfig().batch_size, dtype
        )
        for one, window_FCHW in windows:
            results = chain(queue.push(one, window_FCHW), queue.end(one))
            yield from _made(results, dtype)
        yield from _made(queue.flush(), dtype)


def _made(results: Iterable[Result[_Drawn]], store_dtype: str) -> Iterator[tuple[_Drawn, Floats]]:
    for result in results:
        if isinstance(result, Rows):
            yield result.owner, as_float32(result.values, store_dtype)[0]
        elif isinstance(result, NotFinite):
            yield result.owner, np.full_like(result.owner.stored, np.nan)


def _difference(one: _Drawn, made: Floats, recipe: Recipe) -> RowDifference:
    a, b = one.stored.ravel(), made.ravel()
    max_abs = float(np.abs(a - b).max())
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    tolerance = TOLERANCE[recipe.encoder.compute_dtype] * float(np.abs(a).max())
    return RowDifference(
        video_id=one.video_id,
        row=one.row,
        max_abs=max_abs,
        cosine=float(a @ b) / norms if norms else float(not max_abs),
        tolerance=tolerance,
        ok=max_abs <= tolerance,
    )
