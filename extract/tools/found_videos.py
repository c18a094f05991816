"""Which of a stream's videos lie in a folder, whatever they are called there."""

from collections import defaultdict
from collections.abc import Sequence

from cache_schema.errors import StoreError
from cache_schema.place import Place
from cache_schema.records import VideoRecord
from cache_schema.stream import Stream
from extract.sources.videos import content_digest, find_videos

__all__ = ["found_below"]


def found_below(folder: Place, stream: Stream) -> dict[str, Place]:
    """Return the files of a stream's videos by the videos' ids.

    A video is what has its id below this folder, or the content its rows were made from.

    Raises:
        SourceError: if there is no video in the folder.
        StoreError: if none of the stream's is.
    """
    files = find_videos([str(folder)])
    by_id = {file.id: file.path for file in files}
    by_size: dict[int, list[Place]] = defaultdict(list)
    for file in files:
        by_size[file.size_bytes].append(file.path)
    found = {}
    for video in stream.videos():
        path = by_id.get(video.id) or _same_content(video, by_size.get(video.size_bytes, ()))
        if path is not None:
            found[video.id] = path
    if not found:
        raise StoreError(
            f"{folder}: has none of the {len(stream.video_ids)} videos of stream '{stream.name}', "
            "neither by name nor by content. Name a folder that has some of them with --videos."
        )
    return found


def _same_content(video: VideoRecord, paths: Sequence[Place]) -> Place | None:
    return next((path for path in paths if content_digest(path) == video.digest), None)
