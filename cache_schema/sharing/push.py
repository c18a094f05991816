"""Send a store to the hub: whole parts, only those with videos that are not there.

A part that is sealed goes as it is. Of one that is not (its writer lives, or was killed), and of
one with videos that others have sent or committed, a sealed part is made of those missing. So
what lies on the hub is never changed, only added to, and holds each video once, however often and
from wherever it is pushed. Each commit on the hub adds whole parts, so readers see whole videos.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import CommitOperationAdd

from cache_schema import layout
from cache_schema.convert.transfer import copy_video
from cache_schema.errors import ConfigError, StoreCorruptError, StoreError
from cache_schema.hub.address import HubAddress
from cache_schema.hub.repository import HubRepository, open_repository
from cache_schema.object_backend.indexed import index_text
from cache_schema.place import Address, Place
from cache_schema.progress_bars import no_progress_bars
from cache_schema.proof.blocks import checked_blocks
from cache_schema.proof.zarr_files import is_sealed, sealed_part_problems
from cache_schema.sharing.card import CARD, shared_card
from cache_schema.sharing.held import HeldStore, part_files
from cache_schema.sharing.transfer import MissingVideos, Progress, Transferred, missing_videos
from cache_schema.store import Store, create_store, is_hdf5, open_store
from cache_schema.stream import Stream
from cache_schema.writing.pending import check_same_stream
from cache_schema.zarr_backend.headers import StreamHeader

__all__ = ["planned_push"]

COMMIT_BYTES = 8 * 2**30
COMMIT_FILES = 300
"""A commit on the hub is made when either is reached: few enough not to be slowed down by the hub,
many enough for little to be sent again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartToSend(MissingVideos):
    """A part of the store with videos that the hub lacks."""

    folder: Path
    goes_whole: bool
    """Whether the part is sent as it lies there."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What is to be sent. Made by ``planned_push``."""

    folder: Path
    """Of the store."""
    store: Store
    repository: HubRepository
    held: HeldStore
    parts: Sequence[PartToSend]
    scratch: Path
    """For parts that have to be made."""

    @property
    def bar_rows(self) -> int:
        """Rows that are missing there."""
        return sum(one.num_rows for one in self.parts)

    @property
    def outlook(self) -> Transferred:
        """What will have been sent."""
        return Transferred.planned(
            self.store, self.parts, source=self.folder, target=self.repository.address
        )

    def run(self, progress: Progress) -> Transferred:
        """Send it, and bring the card up to date.

        Args:
            progress: Called with the number of rows after each part.

        Raises:
            HubError: if the hub does not take it.
            StoreCorruptError: if rows or files are not those that were committed.
        """
        is_new, commit = self.repository.make(), None
        if self.parts or CARD not in self.repository.files:
            with no_progress_bars():
                commit = self._send(progress)
        return replace(self.outlook, commit=commit, is_new=is_new)

    def _send(self, progress: Progress) -> str:
        batch = _Batch(self.repository, self.held)
        for path in _headers(self.folder, self.store):
            if path not in self.repository.files:
                batch.add(path, self.folder / path)
        for number, one in enumerate(self.parts):
            if batch.is_full:
                batch.commit()
                for made in self.scratch.glob("*.zarr"):
                    shutil.rmtree(made)
            for store, part in _sealed(one, self.scratch / f"{number}.zarr", self.folder):
                row_ndim = len(one.stream.row_shape)
                for path in part_files(one.stream.name, part, row_ndim=row_ndim):
                    # Parts from before there were copies of journals have none.
                    if not path.endswith(layout.COMMITS_COPY) or (store / path).exists():
                        batch.add(path, store / path)
            batch.upload()
            progress(one.num_rows)
        there = self.held.open()
        parts = {name: [one.id for one in stream.parts] for name, stream in there.streams.items()}
        (self.scratch / layout.INDEX).write_bytes(index_text(parts))
        batch.add(layout.INDEX, self.scratch / layout.INDEX)
        batch.add(CARD, self._card(there))
        return batch.commit()

    def _card(self, there: Store) -> Path:
        """Write the card that suits what is there now."""
        old, ours = self.repository.fetch_text(CARD, self.scratch / "card"), self.folder / CARD
        if old is None and ours.exists():
            old = ours.read_text(encoding="utf-8")
        address = self.repository.address
        text = shared_card(self.store, there, title=address.name, address=str(address), old=old)
        new = self.scratch / CARD
        new.write_text(text, encoding="utf-8")
        return new


@dataclass
class _Batch:
    """Files that are to become visible at one instant."""

    repository: HubRepository
    held: HeldStore
    files: list[CommitOperationAdd] = field(default_factory=list)

    def add(self, path: str, file: Path) -> None:
        try:
            self.files.append(CommitOperationAdd(path, file))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{file}: went while the store was pushed; it was compacted or is damaged. Run the "
                "same command again."
            ) from error
        self.held.add(path, file)

    def upload(self) -> None:
        self.repository.upload(self.files)

    @property
    def is_full(self) -> bool:
        size = sum(one.upload_info.size for one in self.files)
        return size >= COMMIT_BYTES or len(self.files) >= COMMIT_FILES

    def commit(self) -> str:
        num_parts = sum(one.path_in_repo.endswith(layout.COMMITS) for one in self.files)
        commit = self.repository.commit_files(self.files, f"Add {num_parts} parts")
        self.files = []
        return commit


@contextmanager
def planned_push(path: Place, address: HubAddress) -> Iterator[Push]:
    """Compare a store with what the hub holds; nothing is sent.

    Args:
        path: Of the store.
        address: Of the repository, which may not be there.

    Raises:
        ConfigError: if the store is not a folder of parts on this machine.
        HubError: if the hub cannot be asked.
        StoreError: if there is no store, or the hub holds other rows under the same names.
    """
    if isinstance(path, Address) or is_hdf5(path):
        raise ConfigError(
            f"{path}: what is sent to a hub are the parts of a .zarr folder. Make one with "
            f"'vllm-store export {path} NAME.zarr', and push that."
        )
    store = open_store(path)
    repository = open_repository(address, may_be_missing=True)
    with TemporaryDirectory(prefix="vllm-push-") as scratch:
        held = HeldStore(repository, Path(scratch, "held"), path)
        there = held.open().streams
        parts = []
        for name, stream in store.streams.items():
            if name in there:
                check_same_stream(str(address), there[name], stream.recipe, stream.row_shape)
            parts += list(_missing(path, stream, there.get(name)))
        yield Push(
            folder=path,
            store=store,
            repository=repository,
            held=held,
            parts=parts,
            scratch=Path(scratch),
        )


def _missing(store: Path, stream: Stream, held: Stream | None) -> Iterator[PartToSend]:
    for one in missing_videos(stream, held):
        folder = store / stream.name / layout.PARTS / one.part.id
        is_untouched = held is None or not any(video_id in held for video_id in one.counted_ids)
        has_copies = len(one.counted_ids) < len(one.part.commits)
        yield PartToSend(
            stream=stream,
            part=one.part,
            counted_ids=one.counted_ids,
            video_ids=one.video_ids,
            folder=folder,
            goes_whole=is_untouched and not has_copies and is_sealed(folder),
        )


def _headers(folder: Path, store: Store) -> Iterator[str]:
    yield layout.ZARR_JSON
    for name in store.streams:
        yield f"{name}/{layout.ZARR_JSON}"
        if (folder / name / layout.PARTS / layout.ZARR_JSON).exists():
            yield f"{name}/{layout.PARTS}/{layout.ZARR_JSON}"


def _sealed(one: PartToSend, scratch: Path, store: Path) -> Iterator[tuple[Path, str]]:
    """Yield stores and ids of sealed parts that hold what is missing, their rows checked."""
    if one.goes_whole:
        _check_part(one)
        yield store, one.part.id
        return
    stream = one.stream
    with create_store(scratch) as writer:
        made = writer.stream(
            stream.name, stream.recipe, stream.row_shape, encoder_source=stream.encoder_source
        )
        for video_id in one.video_ids:
            copy_video(stream, video_id, made)
    for part in sorted((scratch / stream.name / layout.PARTS).glob("*/")):
        yield scratch, part.name


def _check_part(one: PartToSend) -> None:
    for problem in sealed_part_problems(one.folder, StreamHeader.of(one.stream)):
        raise StoreCorruptError(
            f"{problem} It is not pushed before 'vllm-store verify' is content."
        )
    for video_id in one.video_ids:
        for _ in checked_blocks(one.stream, video_id):
            pass  # it raises where rows are not those that were committed
