"""Merge the many small parts of a store into few big ones; readers see the same all the time.

New parts are committed before old ones are removed, and of two copies of a video the one in the
older part counts, so whatever instant a kill comes at, every video is there once. A part is only
touched if nobody can still be writing it: its writer's lock is free, and, since some file systems
do not pass locks between machines, it is sealed or was not written to of late. A writer whose
part was removed after all finds out at its next commit and fails.
"""

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from cache_schema import layout
from cache_schema.convert.merging import Compaction, Progress, has_dead_rows, is_small, movable
from cache_schema.convert.transfer import copy_store, copy_video
from cache_schema.errors import StoreError
from cache_schema.hdf5_backend.store import replaced_store
from cache_schema.open_files import allow_many_files
from cache_schema.place import Address, Place
from cache_schema.store import Store, is_hdf5, open_store, refuse_hub
from cache_schema.stream import Stream, StreamPart
from cache_schema.writing.durable import sync_path
from cache_schema.writing.write_errors import write_errors
from cache_schema.zarr_backend.reader import part_folders
from cache_schema.zarr_backend.store import ZarrStreamWriter, locked_part

__all__ = ["Compaction", "compact_store"]

MOST_LOCKS = 500


def compact_store(
    path: Place, *, quiet_seconds: float = 3600, progress: Progress = lambda num_rows: None
) -> list[Compaction]:
    """Merge unsealed and small parts, and drop rows no reader sees.

    Args:
        path: Of the store.
        quiet_seconds: An unsealed part, in a bucket one without a commit, that was written to
            later than this ago is left alone.
        progress: Called with the number of rows after each video that was moved.

    Raises:
        StoreError: if the store cannot be read or written; readers see what they saw before.
    """
    refuse_hub(path)
    allow_many_files()  # a lock and a map for each part
    store = open_store(path)
    if isinstance(path, Address):
        from cache_schema.convert.compact_bucket import compact_bucket

        return compact_bucket(path, store, quiet_seconds=quiet_seconds, progress=progress)
    with write_errors(path, RuntimeError):
        if is_hdf5(path):
            return _compact_hdf5(path, store, progress)
        return [
            _compact_stream(path, name, quiet_seconds=quiet_seconds, progress=progress)
            for name in store.streams
        ]


def _compact_hdf5(path: Path, store: Store, progress: Progress) -> list[Compaction]:
    """Write the file anew if it holds rows no reader sees."""
    streams = store.streams.values()
    if any(has_dead_rows(stream, part) for stream in streams for part in stream.parts):
        with replaced_store(path) as new:
            store = open_store(path)  # as it is now that nobody else can write it
            copy_store(store, new, progress)
        moved = {stream.name: len(stream.video_ids) for stream in store.streams.values()}
    else:
        moved = {}
    return [
        Compaction(stream=name, parts_before=1, parts_after=1, videos_moved=moved.get(name, 0))
        for name in store.streams
    ]


def _compact_stream(
    path: Path, name: str, *, quiet_seconds: float, progress: Progress
) -> Compaction:
    done = Compaction(stream=name, parts_before=len(part_folders(path / name)))
    while _merge_once(path, done, quiet_seconds=quiet_seconds, progress=progress):
        pass
    done.parts_after = len(part_folders(path / name))
    return done


def _merge_once(path: Path, done: Compaction, *, quiet_seconds: float, progress: Progress) -> bool:
    """Merge as many parts as locks can be held at once; False if there was nothing to merge."""
    folder = path / done.stream
    done.left_alone = {}
    with ExitStack() as locks:
        free = {
            part.name
            for part in _candidates(folder, open_store(path).streams[done.stream])
            if _is_free(part, done, quiet_seconds, locks.enter_context(locked_part(part)))
        }
        # Opened after the locks were taken: what a writer committed before it let go is in it.
        stream = open_store(path).streams[done.stream]
        merged = _parts_to_merge(folder, stream, free, done)
        _move(folder, stream, merged, done, progress)
        old = {part.id for part in merged} | (free - {part.id for part in stream.parts})
        # The newest first: of two copies the older one counts until both are gone.
        for part_id in sorted(old, reverse=True):
            _remove(folder / layout.PARTS / part_id)
    return bool(merged)


def _candidates(folder: Path, stream: Stream) -> list[Path]:
    """Return the parts worth a lock, oldest first, at most as many as a process may open."""
    good = {
        part.id
        for part in stream.parts
        if not (is_small(stream, part) or has_dead_rows(stream, part))
    }
    folders = part_folders(folder)
    return [part for part in folders if part.name not in good or not _is_sealed(part)][:MOST_LOCKS]


def _is_free(part: Path, done: Compaction, quiet_seconds: float, has_lock: bool) -> bool:
    """Tell whether nobody writes a part, and note why not."""
    if not has_lock:
        done.left_alone[part.name] = "a process writes it"
        return False
    age_seconds = time.time() - max(path.stat().st_mtime for path in (part, *part.rglob("*")))
    if not _is_sealed(part) and age_seconds < quiet_seconds:
        done.left_alone[part.name] = (
            f"not sealed and written to {age_seconds:.0f} s ago, maybe from another machine"
        )
        return False
    return True


def _parts_to_merge(
    folder: Path, stream: Stream, free: set[str], done: Compaction
) -> list[StreamPart]:
    """Choose the parts whose videos move to new ones."""
    chosen = movable(stream, free, done)
    is_pointless = len(chosen) == 1 and (
        _is_sealed(folder / layout.PARTS / chosen[0].id) and not has_dead_rows(stream, chosen[0])
    )
    return [] if is_pointless else chosen


def _move(
    folder: Path,
    stream: Stream,
    merged: Sequence[StreamPart],
    done: Compaction,
    progress: Progress,
) -> None:
    """Write the videos of the merged parts to new ones, or leave nothing behind."""
    writer = ZarrStreamWriter(folder, stream.row_shape, stream.recipe.store_dtype)
    try:
        for part in merged:
            for video_id, counts in stream.counted(part):
                if counts:
                    copy_video(stream, video_id, writer)
                    done.videos_moved += 1
                    progress(stream.rows_of(video_id))
        writer.close()
    except BaseException:
        # The disk may be full, and copies nobody reads would keep the next compaction away.
        with suppress(StoreError):
            writer.close()
        for new in writer.parts:
            _remove(new)
        raise


def _is_sealed(part: Path) -> bool:
    return (part / layout.ZARR_JSON).exists()


def _remove(part: Path) -> None:
    """Take a part away: at once for readers, then its bytes.

    The mark is there before the journal goes and goes last, so a journal that is gone without it
    was lost.
    """
    if not part.exists():
        return
    mark = part / layout.REMOVED
    mark.touch()
    sync_path(part)
    (part / layout.COMMITS).unlink(missing_ok=True)
    sync_path(part)
    for path in part.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != mark:
            path.unlink()
    shutil.rmtree(part)
