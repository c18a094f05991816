"""Prove that a store holds what its journals promise: store in, list of problems out."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import google_crc32c

from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.place import Address, Place
from cache_schema.proof.blocks import little_endian, part_blocks
from cache_schema.proof.hdf5_files import hdf5_problems
from cache_schema.proof.report import Problem, Report
from cache_schema.proof.zarr_files import zarr_problems
from cache_schema.records import Commit
from cache_schema.store import is_hdf5, open_store
from cache_schema.stored_numbers import num_not_finite
from cache_schema.stream import Stream, StreamPart
from cache_schema.timeline import first_bad_time

__all__ = ["Problem", "Report", "verify_store"]


def verify_store(
    path: str | Place, progress: Callable[[int], object] = lambda num_rows: None
) -> Report:
    """Check every byte a reader could get from a store.

    Args:
        path: Of the store.
        progress: Called with the number of rows after each video.

    Raises:
        StoreError: if there is no store of this version at all.
    """
    problems: list[Problem] = []

    def on_damage(error: StoreCorruptError) -> None:
        problems.append(Problem(what=str(error)))

    store = open_store(path, on_damage)
    notes: list[Problem] = []
    if isinstance(store.path, Address):
        from cache_schema.object_backend.indexed import files_at
        from cache_schema.proof.object_files import leftovers, object_problems

        bucket = files_at(store.path)
        problems += object_problems(bucket, store)
        notes += leftovers(bucket, store)
    elif is_hdf5(store.path):
        problems += hdf5_problems(store.path, store)
    else:
        problems += zarr_problems(store.path, store)
    num_videos = num_rows = 0
    for stream in store.streams.values():
        notes += _duplicates(stream)
        for part in stream.parts:
            problems += _order_problems(stream, part)
            for commit in part.commits:
                problems += _video_problems(stream, part, commit)
                progress(commit.num_rows)
                num_videos, num_rows = num_videos + 1, num_rows + commit.num_rows
    return Report(problems=problems, notes=notes, num_videos=num_videos, num_rows=num_rows)


def _order_problems(stream: Stream, part: StreamPart) -> Iterator[Problem]:
    end = 0
    for commit in part.commits:
        if commit.first_row < end or commit.num_rows < 1:
            what = (
                f"video '{commit.video.id}' has {commit.num_rows} rows from row "
                f"{commit.first_row} on, expected at least one and none before row {end}"
            )
            yield Problem(stream=stream.name, part=part.id, what=what)
        end = max(end, commit.first_row + commit.num_rows)


def _video_problems(stream: Stream, part: StreamPart, commit: Commit) -> Iterator[Problem]:
    try:
        found = [*_feature_problems(stream, part, commit), *_time_problems(part, commit)]
    except StoreError as error:
        found = [f"cannot be read: {error}"]
    for what in found:
        yield Problem(stream=stream.name, part=part.id, video=commit.video.id, what=what)


def _feature_problems(stream: Stream, part: StreamPart, commit: Commit) -> Iterator[str]:
    checksum = bad_rows = 0
    for values in part_blocks(stream, part.rows, commit):
        checksum = google_crc32c.extend(checksum, little_endian(values))
        bad_rows += num_not_finite(values, stream.recipe.store_dtype)
    if checksum != commit.features_crc32c:
        yield f"features: crc32c is {checksum:08x}, committed was {commit.features_crc32c:08x}"
    if bad_rows:
        yield f"features: {bad_rows} of {commit.num_rows} rows hold NaN or infinity"


def _time_problems(part: StreamPart, commit: Commit) -> Iterator[str]:
    times_R2 = part.rows.time(commit.first_row, commit.num_rows)
    checksum = google_crc32c.value(little_endian(times_R2))
    if checksum != commit.time_crc32c:
        yield f"time: crc32c is {checksum:08x}, committed was {commit.time_crc32c:08x}"
    if (row := first_bad_time(times_R2)) is not None:
        start, end = times_R2[row]
        yield f"time: row {row} is [{start}, {end}), expected start < end and both in order"


def _duplicates(stream: Stream) -> Iterator[Problem]:
    parts = defaultdict(list)
    for part in stream.parts:
        for video_id in part.commits.ids:
            parts[video_id].append(part.id)
    for video_id, ids in parts.items():
        if len(ids) > 1:
            what = f"committed {len(ids)} times, in parts {', '.join(ids)}; the first counts"
            yield Problem(stream=stream.name, part=ids[0], video=video_id, what=what)
