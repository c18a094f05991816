"""Merge the many small parts of a store in a bucket, and take away what killed writers left.

Nobody holds a lock. Old parts may be merged at any time, because a part never changes once it is
committed. A part without a commit may have a living writer: whoever takes it away first puts an
empty journal in its place, which the writer's commit then finds there.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from cache_schema import layout
from cache_schema.convert.merging import Compaction, Progress, has_dead_rows, is_small, movable
from cache_schema.convert.transfer import copy_video
from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.part import LONGEST_PUT_SECONDS
from cache_schema.object_backend.rows import ObjectPartRows
from cache_schema.object_backend.store import ObjectStreamWriter
from cache_schema.place import Address
from cache_schema.store import Store, open_store
from cache_schema.stream import Stream, StreamPart
from cache_schema.zarr_backend.headers import StreamHeader

__all__ = ["compact_bucket"]

VIDEOS_AHEAD = 16
"""Fetched while one is copied."""


def compact_bucket(
    address: Address, store: Store, *, quiet_seconds: float, progress: Progress
) -> list[Compaction]:
    """Merge small parts, and drop rows no reader sees; see ``compact_store``.

    Args:
        address: Of the store.
        store: Opened there.
        quiet_seconds: A part without a commit is left alone if an object of it is younger.
        progress: Called with the number of rows after each video that was moved.
    """
    bucket = Bucket(address)
    done = []
    for stream in store.streams.values():
        done.append(Compaction(stream=stream.name, parts_before=len(stream.parts)))
        _take_away_leftovers(bucket, stream, quiet_seconds, done[-1])
        chosen = {part.id for part in stream.parts if _is_poor(stream, part)}
        merged = movable(stream, chosen, done[-1])
        if len(merged) > 1 or any(has_dead_rows(stream, part) for part in merged):
            _move(bucket, stream, merged, done[-1], progress)
            # The newest first: of two copies the older one counts until both are gone.
            _remove(bucket, stream, [part.id for part in reversed(merged)])
    now = open_store(address)
    for one in done:
        one.parts_after = len(now.streams[one.stream].parts)
    return done


def _is_poor(stream: Stream, part: StreamPart) -> bool:
    return is_small(stream, part) or has_dead_rows(stream, part)


def _move(
    bucket: Bucket,
    stream: Stream,
    merged: Sequence[StreamPart],
    done: Compaction,
    progress: Progress,
) -> None:
    """Write the videos of the merged parts to new ones, or leave nothing behind."""
    writer = ObjectStreamWriter(
        bucket, stream.name, StreamHeader.of(stream), part_bytes=layout.PART_BYTES
    )
    try:
        for video_id in _fetched_ahead(stream, merged):
            copy_video(stream, video_id, writer)
            done.videos_moved += 1
            progress(stream.rows_of(video_id))
        writer.close()
    except BaseException:
        # Copies nobody reads would be merged again by every other compaction.
        writer.discard()
        with suppress(StoreError):
            _remove(bucket, stream, writer.parts)
        raise


def _fetched_ahead(stream: Stream, merged: Sequence[StreamPart]) -> Iterator[str]:
    """Yield the videos that count, while the rows of those behind are on their way."""
    videos = [
        (part, at)
        for part in merged
        for at, (_, counts) in enumerate(stream.counted(part))
        if counts
    ]
    for number, (part, at) in enumerate(videos):
        last = number + VIDEOS_AHEAD if number else 0
        for ahead, line in videos[last : number + VIDEOS_AHEAD + 1]:
            assert isinstance(ahead.rows, ObjectPartRows)
            ahead.rows.prefetch_whole(ahead.commits.first_rows[line], ahead.commits.num_rows[line])
        yield part.commits.ids[at]


def _take_away_leftovers(
    bucket: Bucket, stream: Stream, quiet_seconds: float, done: Compaction
) -> None:
    """Take away the objects of parts without a commit; note those that are too young."""
    committed = {part.id for part in stream.parts}
    for part in bucket.folders(f"{stream.name}/{layout.PARTS}"):
        if part in committed:
            continue
        folder = _folder(stream, part)
        objects = bucket.objects(folder)
        journal = objects.get(f"{folder}/{layout.COMMITS}")
        if journal is not None:
            _finish_removal(bucket, folder, set(objects), journal.modified_seconds)
            continue
        age_seconds = time.time() - max(
            (one.modified_seconds for one in objects.values()), default=0
        )
        if age_seconds < quiet_seconds:
            done.left_alone[part] = f"has no commit yet, and was written to {age_seconds:.0f} s ago"
        elif bucket.put_new(f"{folder}/{layout.COMMITS}", b""):
            bucket.remove([key for key in objects if not key.endswith(f"/{layout.COMMITS}")])


def _finish_removal(bucket: Bucket, folder: str, keys: set[str], modified_seconds: float) -> None:
    """Go on with what another compaction began; committed since the store was opened, it stays."""
    mark = f"{folder}/{layout.COMMITS}"
    if bucket.get(mark) != b"":
        return
    bucket.remove(sorted(keys - {mark}))
    # The mark stays for longer than a writer may take that still means to commit.
    if time.time() - modified_seconds > 2 * LONGEST_PUT_SECONDS:
        bucket.remove([mark])


def _remove(bucket: Bucket, stream: Stream, parts: Sequence[str]) -> None:
    """Take committed parts away: one after the other for readers, then the bytes of all."""
    folders = [_folder(stream, part) for part in parts]
    for folder in folders:
        bucket.remove([f"{folder}/{layout.COMMITS}"])
    there = bucket.objects(f"{stream.name}/{layout.PARTS}") if parts else {}
    bucket.remove([key for key in there if key.startswith(tuple(f"{one}/" for one in folders))])


def _folder(stream: Stream, part: str) -> str:
    return f"{stream.name}/{layout.PARTS}/{part}"
