"""Fetch a store from the hub into a local one: whole parts, only those with videos it lacks.

Parts are downloaded beside the store, held to their checksums, and put in their places by one
rename each. Killed at any instant, the store holds whole videos, and the same command goes on.
"""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cache_schema import layout
from cache_schema.errors import ConfigError, StoreCorruptError, StoreNotFoundError
from cache_schema.hub.address import HubAddress
from cache_schema.hub.repository import HubRepository, open_repository
from cache_schema.place import Address, Place
from cache_schema.progress_bars import no_progress_bars
from cache_schema.proof.zarr_files import sealed_part_problems
from cache_schema.sharing.card import CARD
from cache_schema.sharing.held import HeldStore, part_files
from cache_schema.sharing.transfer import MissingVideos, Progress, Transferred, missing_videos
from cache_schema.store import Store, is_hdf5, open_store
from cache_schema.writing.durable import make_folders, replaced_file, sync_path
from cache_schema.writing.pending import check_same_stream
from cache_schema.writing.write_errors import write_errors
from cache_schema.zarr_backend.headers import StreamHeader
from cache_schema.zarr_backend.store import create_zarr_store, create_zarr_stream

__all__ = ["planned_pull"]

NUM_THREADS = 4
"""Parts that come at a time."""


@dataclass(frozen=True, kw_only=True)
class Pull:
    """What is to be fetched. Made by ``planned_pull``."""

    repository: HubRepository
    source: Store
    """What the repository holds, without the rows."""
    target: Path
    parts: Sequence[MissingVideos]
    """Those of the hub."""

    @property
    def bar_rows(self) -> int:
        """Rows that are missing here."""
        return sum(one.num_rows for one in self.parts)

    @property
    def outlook(self) -> Transferred:
        """What will have been fetched."""
        return Transferred.planned(
            self.source,
            self.parts,
            source=self.repository.address,
            target=self.target,
            commit=self.repository.commit,
        )

    def run(self, progress: Progress) -> Transferred:
        """Fetch it.

        Args:
            progress: Called with the number of rows after each part.

        Raises:
            HubError: if the hub does not give it, or gives other bytes than it lists.
            StoreError: if it cannot be written.
        """
        staging = self.target.with_name(f"{self.target.name}.pulling")
        with write_errors(self.target), no_progress_bars():
            create_zarr_store(self.target)
            for stream in self.source.streams.values():
                create_zarr_stream(self.target, stream.name, StreamHeader.of(stream))
            with ThreadPoolExecutor(NUM_THREADS) as threads:
                for one in threads.map(lambda one: self._fetch(one, staging), self.parts):
                    progress(one.num_rows)
            if CARD in self.repository.files:
                self._fetch_card(staging)
            shutil.rmtree(staging, ignore_errors=True)
        return self.outlook

    def _files(self, one: MissingVideos) -> list[str]:
        """Return the paths of a part's files that are there."""
        paths = part_files(one.stream.name, one.part.id, row_ndim=len(one.stream.row_shape))
        return [path for path in paths if path in self.repository.files]

    def _fetch(self, one: MissingVideos, staging: Path) -> MissingVideos:
        part = Path(one.stream.name, layout.PARTS, one.part.id)
        for path in self._files(one):
            sync_path(self.repository.fetch(path, staging))
        for problem in sealed_part_problems(staging / part, StreamHeader.of(one.stream)):
            raise StoreCorruptError(
                f"{self.repository.address}: the part {one.part.id} is damaged there ({problem}) "
                "Ask whoever pushed it to verify their store and push it into a new repository."
            )
        for folder in (staging / part).rglob("*/"):
            sync_path(folder)
        _put(staging / part, self.target / part)
        return one

    def _fetch_card(self, staging: Path) -> None:
        card = self.repository.fetch(CARD, staging)
        with replaced_file(self.target / CARD) as temporary:
            shutil.copyfile(card, temporary)


def _put(staged: Path, place: Path) -> None:
    """Give a part its place in the store, from which instant on its videos are there."""
    if place.exists():
        return  # another pull was faster
    staged.rename(place)
    sync_path(place.parent)


@contextmanager
def planned_pull(address: HubAddress, target: Place) -> Iterator[Pull]:
    """Compare what the hub holds with a local store; nothing is written.

    Args:
        address: Of the repository.
        target: A ``.zarr`` folder, which may not be there.

    Raises:
        ConfigError: if the target is not to be a folder of parts.
        HubError: if the hub cannot be asked.
        StoreError: if there is no store, or the target holds other rows under the same names.
    """
    if isinstance(target, Address) or is_hdf5(target):
        raise ConfigError(
            f"{target}: parts of a store are pulled from a hub into a .zarr folder. Pull into one, "
            f"and copy it with 'vllm-store export NAME.zarr {target}'."
        )
    repository = open_repository(address)
    with TemporaryDirectory(prefix="vllm-pull-") as scratch:
        source = HeldStore(repository, Path(scratch), target).open()
        if not source.streams:
            raise StoreNotFoundError(f"{address}: holds no feature store.")
        here = open_store(target).streams if target.exists() else {}
        parts = []
        for name, stream in source.streams.items():
            if name in here:
                check_same_stream(str(target), here[name], stream.recipe, stream.row_shape)
            parts += list(missing_videos(stream, here.get(name)))
        make_folders(target.parent)
        yield Pull(repository=repository, source=source, target=target, parts=parts)
