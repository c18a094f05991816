"""Copy a store into another, of the same backend or not: same streams, videos, times and rows."""

from collections.abc import Callable

from cache_schema.errors import StoreError
from cache_schema.place import Place
from cache_schema.proof.blocks import checked_blocks
from cache_schema.store import Store, StreamWriter, create_store, open_store, store_exists
from cache_schema.stream import Stream

__all__ = ["copy_store", "copy_video", "holds"]


def copy_store(
    source: Store, target: Place, progress: Callable[[int], object] = lambda num_rows: None
) -> int:
    """Copy every video the target does not hold yet; a second call finishes a killed first one.

    Args:
        source: Read as it was when it was opened.
        target: Ends in ``.zarr`` or ``.h5``, or an address; made if it is not there.
        progress: Called with the number of rows after each video.

    Returns:
        The number of videos that were copied.

    Raises:
        RecipeMismatchError: if the target has a stream of a name with another recipe.
        StoreError: if the target has a video of a name with other rows.
    """
    held = open_store(target).streams if store_exists(target) else {}
    writer = create_store(target, of_copies=True)
    num_copied = 0
    try:
        writers = {
            name: writer.stream(
                name, stream.recipe, stream.row_shape, encoder_source=stream.encoder_source
            )
            for name, stream in source.streams.items()
        }
        for name, stream in source.streams.items():
            for video_id in stream.video_ids:
                if not holds(held.get(name), stream, video_id):
                    copy_video(stream, video_id, writers[name])
                    num_copied += 1
                progress(stream.rows_of(video_id))
    finally:
        writer.close()
    return num_copied


def copy_video(stream: Stream, video_id: str, writer: StreamWriter) -> None:
    """Append one video to a writer and commit it.

    Raises:
        StoreCorruptError: if the rows are not those that were committed.
    """
    for rows in checked_blocks(stream, video_id):
        writer.append(rows, are_finite=True)  # or not: a copy has the same bytes
    writer.commit(stream.commit(video_id).video, stream.times(video_id))


def holds(target: Stream | None, stream: Stream, video_id: str) -> bool:
    """Tell whether another stream holds a video of this one.

    Raises:
        StoreError: if it holds other rows of it.
    """
    if target is None or video_id not in target:
        return False
    ours, theirs = stream.commit(video_id), target.commit(video_id)
    for name in ("num_rows", "features_crc32c", "time_crc32c"):
        if getattr(ours, name) != getattr(theirs, name):
            raise StoreError(
                f"stream '{stream.name}': the target holds other rows of '{video_id}' "
                f"({name} {getattr(theirs, name)}, not {getattr(ours, name)}). Copy to a new path."
            )
    return True
