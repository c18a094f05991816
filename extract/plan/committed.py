"""What has been committed, looked at again and again: only what journals have grown by is read.

The store's journals are all that processes know of each other; nobody asks a scheduler.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.journal import decode_journal
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.reader import new_journals
from cache_schema.place import Address, Place
from cache_schema.writing.part_names import part_seconds, part_writer
from cache_schema.zarr_backend.reader import part_folders

__all__ = ["CommittedVideos", "committed_videos"]

ACTIVE_SECONDS = 60.0
"""A part that was written to within this time has a writer that lives."""
LISTING_SECONDS = 5.0
"""At least so long between two looks at a bucket."""
LATE_SECONDS = 600.0
"""A part may appear so long after those whose names sort behind its own; one that takes longer is
passed over, and at worst its video is extracted once more."""


class CommittedVideos(ABC):
    """The video ids that each stream of a store holds."""

    def __init__(self, streams: Sequence[str]) -> None:
        self._ids: dict[str, set[str]] = {name: set() for name in streams}

    def missing(self, video_id: str, streams: Collection[str]) -> frozenset[str]:
        """Return those of the streams that lack a video, as of the last ``refresh``."""
        return frozenset(name for name in streams if video_id not in self._ids[name])

    def refresh(self) -> int:
        """Look again; return how many parts are being written, of the busiest stream."""
        return max(map(self._refresh, self._ids), default=0)

    @abstractmethod
    def _refresh(self, stream: str) -> int:
        """Add what a stream has got; return how many of its parts are being written."""


def committed_videos(store: Place, streams: Sequence[str]) -> CommittedVideos:
    """Return what a store holds that many processes may fill; empty before ``refresh``."""
    return (_InFolder if isinstance(store, Path) else _InBucket)(store, streams)  # type: ignore[arg-type]


class _InFolder(CommittedVideos):
    def __init__(self, store: Path, streams: Sequence[str]) -> None:
        super().__init__(streams)
        self._folders = {name: store / name for name in streams}
        self._journal_bytes: dict[Path, int] = {}
        self._read_bytes: dict[Path, int] = {}
        """Up to the end of the last whole line."""
        self._sealed: set[Path] = set()

    def _refresh(self, stream: str) -> int:
        num_active = 0
        for part in part_folders(self._folders[stream]):
            if part in self._sealed:
                continue
            # A part that goes away (compaction) or cannot be read is looked over: at worst a
            # video is extracted once more, and counts once all the same.
            try:
                is_sealed = (part / layout.ZARR_JSON).exists()
                self._read(stream, part)
                num_active += not is_sealed and _is_active(part)
            except (OSError, StoreError):
                continue
            if is_sealed:
                self._sealed.add(part)
        return num_active

    def _read(self, stream: str, part: Path) -> None:
        journal = part / layout.COMMITS
        size = journal.stat().st_size
        if self._journal_bytes.get(part) != size:
            start = self._read_bytes.get(part, 0)
            with journal.open("rb") as file:
                file.seek(start)
                commits, _ = decode_journal(file.read(), where=f"{journal} from byte {start} on")
            self._ids[stream].update(commits.ids)
            self._read_bytes[part] = start + commits.num_bytes
            self._journal_bytes[part] = size


class _InBucket(CommittedVideos):
    """A part appears as a whole and never grows, so only parts that are new are looked at."""

    def __init__(self, store: Address, streams: Sequence[str]) -> None:
        super().__init__(streams)
        self._bucket = Bucket(store)
        self._seen: dict[str, set[str]] = {name: set() for name in streams}
        self._looked = -math.inf
        self._num_writers = 0

    def refresh(self) -> int:
        """Look again, unless that was a moment ago: a listing takes time and costs money."""
        if time.monotonic() - self._looked > LISTING_SECONDS:
            self._num_writers = super().refresh()
            self._looked = time.monotonic()
        return self._num_writers

    def _refresh(self, stream: str) -> int:
        seen = self._seen[stream]
        # A part is named before it is put, and by the clock of some other machine.
        since = max(map(part_seconds, seen), default=LATE_SECONDS) - LATE_SECONDS
        for part, data in new_journals(self._bucket, stream, seen, since).items():
            seen.add(part)
            try:
                self._ids[stream].update(decode_journal(data, where=part)[0].ids)
            except StoreCorruptError:
                continue
        now = time.time()
        return len({part_writer(p) for p in seen if now - part_seconds(p) < ACTIVE_SECONDS})


def _is_active(part: Path) -> bool:
    # A writer that was killed while it removed an empty part may leave its journal alone.
    newest = max((path.stat().st_mtime for path in part.glob("*/c/**/*")), default=0.0)
    return time.time() - newest < ACTIVE_SECONDS
