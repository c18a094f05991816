"""Write a store out as one ``.npy`` file per video, for tools that know nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cache_schema.errors import StoreError
from cache_schema.proof.blocks import checked_blocks
from cache_schema.store import Store
from cache_schema.stored_numbers import Array, as_float32
from cache_schema.stream import Stream
from cache_schema.writing.durable import replaced_file
from cache_schema.writing.write_errors import write_errors

__all__ = ["export_npy"]


def export_npy(
    source: Store, target: Path, progress: Callable[[int], object] = lambda num_rows: None
) -> int:
    """Write ``<stream>/features/<id>.npy`` and ``<stream>/times/<id>.npy`` for every video.

    Args:
        source: Read as it was when it was opened.
        target: Folder; files that are there are replaced, each when it is complete.
        progress: Called with the number of rows after each video.

    Returns:
        The number of videos that were written.

    Raises:
        StoreError: if a video's id would lead out of the folder, or it cannot be written.
        StoreCorruptError: if rows are not those that were committed.
    """
    num_videos = 0
    for name, stream in source.streams.items():
        for video_id in stream.video_ids:
            _write(_path(target / name / "features", video_id), _features(stream, video_id))
            _write(_path(target / name / "times", video_id), stream.times(video_id))
            num_videos += 1
            progress(stream.rows_of(video_id))
    return num_videos


def _features(stream: Stream, video_id: str) -> Array:
    """Return the rows of a video; bfloat16, which NumPy does not know, as float32."""
    blocks = [block.copy() for block in checked_blocks(stream, video_id)]
    values = np.concatenate(blocks)
    if stream.recipe.store_dtype == "bfloat16":
        return as_float32(values, "bfloat16")
    return values


def _path(folder: Path, video_id: str) -> Path:
    path = folder / f"{video_id}.npy"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"{folder}: video id '{video_id}' would lead out of this folder.")
    return path


def _write(path: Path, values: Array) -> None:
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, values, allow_pickle=False)
