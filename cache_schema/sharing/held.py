"""What a repository holds of a store: headers and journals, without the rows.

These few files are downloaded and opened as the store that they are: what reads a store tells which
videos are there, and what is committed of each.
"""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cache_schema import layout
from cache_schema.errors import StoreNotFoundError
from cache_schema.hub.repository import HubRepository
from cache_schema.object_backend.rows import shard_key
from cache_schema.progress_bars import no_progress_bars
from cache_schema.store import Store
from cache_schema.zarr_backend.reader import read_zarr_streams

__all__ = ["HeldStore", "part_files"]

STREAM = r"[A-Za-z0-9][A-Za-z0-9._-]*"
HEADERS = re.compile(rf"(?:{STREAM}/(?:parts/)?)?zarr\.json")
JOURNALS = re.compile(rf"{STREAM}/parts/[0-9A-Za-z-]+/commits\.log")
"""No other names: what comes from elsewhere becomes a path here."""
NUM_THREADS = 8
"""Small files that come at a time."""


class HeldStore:
    """The headers and journals of a repository, in a folder."""

    def __init__(self, repository: HubRepository, folder: Path, store: Path) -> None:
        """Download them.

        Args:
            repository: Where they lie.
            folder: Where to put them.
            store: A local store that may have the same files; those need not come.

        Raises:
            HubError: if they cannot be had.
        """
        self.folder = folder
        missing = []
        for path in filter(_is_small, repository.files):
            if repository.has(path, store / path):
                self.add(path, store / path)
            else:
                missing.append(path)
        with no_progress_bars(), ThreadPoolExecutor(NUM_THREADS) as threads:
            list(threads.map(lambda path: repository.fetch(path, folder), missing))

    def add(self, path: str, file: Path) -> None:
        """Note a file and its path in the repository; rows are passed over."""
        if _is_small(path):
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)

    def open(self) -> Store:
        """Return it as a store whose rows cannot be read; one without streams if there is none.

        Raises:
            StoreError: if what lies there is something else, or damaged.
        """
        try:
            return Store(self.folder, read_zarr_streams(self.folder))
        except StoreNotFoundError:
            return Store(self.folder, ())


def _is_small(path: str) -> bool:
    return bool(HEADERS.fullmatch(path) or JOURNALS.fullmatch(path))


def part_files(stream: str, part: str, *, row_ndim: int) -> Iterator[str]:
    """Yield the files of a sealed part by their paths in a store; what commits its videos is last.

    Args:
        stream: Name of the stream.
        part: Id of the part.
        row_ndim: Dimensions of a row.
    """
    folder = f"{stream}/{layout.PARTS}/{part}"
    for array, ndim in ((layout.FEATURES, 1 + row_ndim), (layout.TIME, 2)):
        yield shard_key(folder, array, ndim=ndim)
        yield f"{folder}/{array}/{layout.ZARR_JSON}"
    for name in (layout.COMMITS_COPY, layout.ZARR_JSON, layout.COMMITS):
        yield f"{folder}/{name}"
