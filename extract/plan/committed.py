"""What has been committed, looked at again and again: only what journals have grown by is read.

The store's journals are all that processes know of each other; nobody asks a scheduler.
"""

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreError
from cache_schema.journal import decode_journal
from cache_schema.zarr_backend.reader import part_folders

__all__ = ["CommittedVideos"]

ACTIVE_SECONDS = 60.0
"""A part that was written to within this time has a writer that lives."""


class CommittedVideos:
    """The video ids that each stream of a Zarr store holds."""

    def __init__(self, store: Path, streams: Sequence[str]) -> None:
        self._folders = {name: store / name for name in streams}
        self._ids: dict[str, set[str]] = {name: set() for name in streams}
        self._journal_bytes: dict[Path, int] = {}
        self._read_bytes: dict[Path, int] = {}
        """Up to the end of the last whole line."""
        self._sealed: set[Path] = set()

    def missing(self, video_id: str, streams: Collection[str]) -> frozenset[str]:
        """Return those of the streams that lack a video, as of the last ``refresh``."""
        return frozenset(name for name in streams if video_id not in self._ids[name])

    def refresh(self) -> int:
        """Look again; return how many parts are being written, of the busiest stream."""
        return max((self._refresh(name) for name in self._folders), default=0)

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


def _is_active(part: Path) -> bool:
    newest = max(path.stat().st_mtime for path in part.glob("*/c/**/*"))
    return time.time() - newest < ACTIVE_SECONDS
