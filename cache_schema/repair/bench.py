"""Where every change of a repair goes through: noted, and made unless it is only a rehearsal."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cache_schema.writing.durable import new_file, replaced_file
from cache_schema.zarr_backend.headers import write_document

__all__ = ["Bench"]


@dataclass(kw_only=True)
class Bench:
    """What was put back, and what was left as it is."""

    dry_run: bool
    quiet_seconds: float
    mended: list[str] = field(default_factory=list)
    """One sentence each."""
    left_alone: dict[str, str] = field(default_factory=dict)
    """Place -> why nothing was done there."""

    def document(self, path: Path, document: Mapping[str, object], source: str) -> None:
        """Write a ``zarr.json``."""
        self.do(path, source, lambda: write_document(path, document))

    def journal(self, path: Path, journal: bytes) -> None:
        """Write a journal, and never over one that somebody made meanwhile."""

        def write() -> None:
            with (replaced_file if path.exists() else new_file)(path) as temporary:
                temporary.write_bytes(journal)

        self.do(path, "its copy", write)

    def end(self, path: Path, at: int, end: bytes) -> None:
        """Write what follows the rows of a shard file; no row and no size a reader needs changes.

        Killed in between, it is not right yet, and the next repair finds that.
        """

        def write() -> None:
            descriptor = os.open(path, os.O_WRONLY)
            try:
                view, offset = memoryview(end), at
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    view, offset = view[written:], offset + written
                os.ftruncate(descriptor, at + len(end))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

        self.do(path, "the number of its rows", write)

    def do(self, path: Path, source: str, write: Callable[[], object]) -> None:
        """Make one change, and note it."""
        if not self.dry_run:
            write()
        self.mended.append(f"{path}: from {source}")
