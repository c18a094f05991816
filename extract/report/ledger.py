"""The failure ledger: which videos could not be used, and why. JSON lines beside the store.

It only ever grows; each entry is appended in one write, so any number of runs may share it. An
entry stands for a stream until the video is committed there or its file changes. One whose reason
may have passed by the next run stands for nothing: it only tells.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from cache_schema.place import Place
from cache_schema.shared_lines import append_lines, read_lines
from cache_schema.store import beside_store
from extract.sources.videos import VideoFile

__all__ = ["Failure", "Ledger", "failure_of", "spelt_out"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One video that could not be used."""

    video_id: str
    path: str
    size_bytes: int
    """Of the file that failed: another size is another file, which is tried."""
    streams: tuple[str, ...]
    """The streams it is therefore missing from."""
    stage: str
    """``open``, ``decode``, ``encode`` or ``worker``."""
    error: str
    stands: bool = True
    """Whether later runs pass over the file. Entries of earlier versions, which do not say, do."""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def failure_of(
    video: VideoFile, streams: Sequence[str], stage: str, error: str, *, stands: bool = True
) -> Failure:
    """Return the ledger entry of a video."""
    return Failure(
        video_id=spelt_out(video.id),
        path=spelt_out(str(video.path)),
        size_bytes=video.size_bytes,
        streams=tuple(sorted(streams)),
        stage=stage,
        error=error,
        stands=stands,
    )


def spelt_out(name: str) -> str:
    """Return a file's name as text; bytes of it that are no text become backslash escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


class Ledger:
    """The ledger of one store."""

    def __init__(self, store: Place) -> None:
        self.path = beside_store(store, ".failures.jsonl")

    def append(self, failures: Sequence[Failure]) -> None:
        """Add entries in one write, behind whatever others have added.

        Raises:
            StoreError: if the ledger cannot be written.
        """
        if not failures:
            return
        append_lines(self.path, [json.dumps(asdict(failure)) for failure in failures])

    def latest(self) -> dict[tuple[str, str], Failure]:
        """Return the last entry of each (video id, stream)."""
        return {
            (failure.video_id, stream): failure
            for failure in self._entries()
            for stream in failure.streams
        }

    def _entries(self) -> Iterator[Failure]:
        """Yield the whole entries; a line that is none costs one more try of a video, no more."""
        for line in read_lines(self.path):
            try:
                yield _failure(json.loads(line))
            except (ValueError, TypeError, KeyError):
                continue


def _failure(entry: Mapping[str, object]) -> Failure:
    streams = entry["streams"]
    size_bytes = entry["size_bytes"]
    if not isinstance(streams, list) or not isinstance(size_bytes, int):
        raise TypeError("an entry of another version")
    texts = {key: str(entry[key]) for key in ("video_id", "path", "stage", "error", "time")}
    stands = entry.get("stands") is not False
    return Failure(**texts, size_bytes=size_bytes, streams=tuple(map(str, streams)), stands=stands)
