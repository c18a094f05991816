"""Where a store's videos lie now: their paths are as they were typed when the rows were made."""

from pathlib import Path

from cache_schema.place import Place
from cache_schema.records import VideoRecord

__all__ = ["found_video"]


def found_video(record: VideoRecord, store: Place | None) -> Path | None:
    """Return the file that a video's rows were made from; None if it is not found.

    Its path is tried as it is, then from the store's folder and the folders above it. A file of
    another size is another file. Of imported rows the file may be anything.

    Args:
        record: Of the video.
        store: Where it is; None if it was temporary, made where we are. One that is no folder or
            file tells nothing.
    """
    if not record.path:
        return None
    for folder in (Path(), *(store.resolve().parents if isinstance(store, Path) else ())):
        path = folder / record.path
        if path.is_file() and record.size_bytes in {0, path.stat().st_size}:
            return path
    return None
