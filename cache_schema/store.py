"""Open a store for reading or writing: a ``.zarr`` folder, an ``.h5`` file, or one in a bucket."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import ConfigError, RecipeMismatchError, StoreNotFoundError
from cache_schema.parsing import differences
from cache_schema.place import Address, Place, to_place
from cache_schema.recipe import Recipe
from cache_schema.records import VideoRecord
from cache_schema.stored_numbers import Array
from cache_schema.stream import OnDamage, Stream, raise_damage
from cache_schema.writing.durable import true_path

if TYPE_CHECKING:
    from cache_schema.object_backend.disk_cache import DiskCache

__all__ = [
    "Store",
    "StoreWriter",
    "StreamWriter",
    "beside_store",
    "check_name",
    "create_store",
    "is_hdf5",
    "open_store",
    "refuse_hub",
    "store_exists",
    "stored_bytes",
    "stream_names",
]

HDF5_SUFFIXES = (".h5", ".hdf5")


class StreamWriter(Protocol):
    """Append videos of one stream, one at a time; each commits by itself."""

    def append(self, values: Array, *, are_finite: bool = False) -> None:
        """Add rows to the current video; nothing is visible before ``commit``.

        Args:
            values: (rows, *row_shape) in the stored dtype (uint16 bits for bfloat16).
            are_finite: Whether the caller has made sure of that, so that nobody looks again.

        Raises:
            StoreError: on another dtype or shape, or numbers that are not finite.
        """

    # Times come with the commit, not with the rows: a row's end is known once the video's end is.
    def commit(self, video: VideoRecord, times_R2: NDArray[np.float64]) -> None:
        """Make the rows appended since the last commit durable and visible."""

    def abandon(self) -> None:
        """Forget the rows appended since the last commit."""

    def close(self) -> None:
        """Forget pending rows and finish the current part."""


class StoreWriter(Protocol):
    """A store open for writing; in a ``with`` statement it is closed at the end of the block."""

    def stream(
        self, name: str, recipe: Recipe, row_shape: tuple[int, ...], *, encoder_source: str = ""
    ) -> StreamWriter:
        """Return a writer for a stream, which is made if it is not there.

        A stream that is there keeps the ``Stream.encoder_source`` that it was made with.
        """

    def close(self) -> None:
        """Close every stream writer."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Store:
    """The committed content of a store at the moment it was opened. Picklable."""

    def __init__(self, path: Place, streams: Sequence[Stream]) -> None:
        self.path = path
        self.streams = {stream.name: stream for stream in streams}

    def __repr__(self) -> str:
        return f"<Store {self.path}: {', '.join(self.streams) or 'no streams yet'}>"

    def stream(self, name: str | None = None) -> Stream:
        """Return a stream by name, or the only one.

        Raises:
            ConfigError: if the name is unknown, or None while there are several.
        """
        if name is None and len(self.streams) == 1:
            return next(iter(self.streams.values()))
        if name in self.streams:
            return self.streams[name]
        known = ", ".join(self.streams) or "none yet"
        got = "no --stream was given" if name is None else f"no stream '{name}'"
        raise ConfigError(f"{self.path}: {got}; it holds: {known}.")

    def find(self, recipe: Recipe) -> Stream | None:
        """Return the stream made by exactly this recipe, if there is one."""
        for stream in self.streams.values():
            if stream.recipe.fingerprint == recipe.fingerprint:
                return stream
        return None

    def require(self, name: str, recipe: Recipe) -> Stream:
        """Return a stream after checking its recipe.

        Raises:
            RecipeMismatchError: naming every field that differs.
        """
        stream = self.stream(name)
        if stream.recipe.fingerprint != recipe.fingerprint:
            fields = "; ".join(differences(stream.recipe, recipe))
            raise RecipeMismatchError(
                f"{self.path}: stream '{name}' was made another way than needed: {fields}. "
                "Extract with the same settings, or choose another stream."
            )
        return stream


def is_hdf5(path: Place) -> bool:
    """Tell by its suffix whether a path names an HDF5 store."""
    return isinstance(path, Path) and path.suffix.lower() in HDF5_SUFFIXES


def check_name(path: Place) -> None:
    """Refuse a name for a new store that does not say what it will be: a folder or a file.

    What is there may have any name: an empty folder made for a store, too.

    Raises:
        ConfigError: naming what would do.
    """
    if isinstance(path, Address) or path.exists():
        return
    if path.suffix.lower() not in {".zarr", *HDF5_SUFFIXES}:
        raise ConfigError(
            f"{path}: a new store is a folder named .zarr or a file named .h5. Name it {path}.zarr."
        )


def store_exists(path: Place) -> bool:
    """Tell whether anything lies at a place that a store is to be written to, be it one or not.

    An empty folder, made ahead for a ``.zarr`` store, is nothing.

    Raises:
        ConfigError: if no store is written there.
        StoreError: if a bucket cannot be asked.
    """
    if isinstance(path, Path):
        if is_hdf5(path) or not path.is_dir():
            return path.exists()
        from cache_schema.zarr_backend.reader import is_empty_folder

        return not is_empty_folder(path)
    refuse_hub(path)
    from cache_schema.object_backend.bucket import Bucket

    return Bucket(path).get(layout.ZARR_JSON) is not None


def beside_store(store: Place, ending: str) -> Place:
    """Return where something is noted beside a store: its name, and what that ends in.

    An HDF5 file has one such place, whichever link names it.
    """
    if isinstance(store, Path) and is_hdf5(store):
        store = true_path(store)
    return store.with_name(f"{store.name}{ending}")


def stored_bytes(path: Place) -> int:
    """Return the size of all files or objects of a store."""
    if isinstance(path, Address):
        from cache_schema.object_backend.indexed import files_at

        return sum(one.num_bytes for one in files_at(path).objects().values())
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def open_store(
    path: str | Place, on_damage: OnDamage = raise_damage, *, cache: "DiskCache | None" = None
) -> Store:
    """Open a store for reading.

    Args:
        path: A ``.zarr`` folder, an ``.h5`` file, or an address such as ``s3://bucket/f.zarr``. One
            of a hub, ``hf://datasets/user/name``, is downloaded into the hub's cache.
        on_damage: Called for each part with a damaged journal, which is then left out.
        cache: Where rows from a bucket are kept on this machine; None keeps none. Of no use to
            paths.

    Raises:
        HubError: if a hub does not give it.
        StoreNotFoundError: if nothing lies there.
        StoreError: if it is not a feature store, of another version, or damaged.
    """
    path = to_place(path)
    if isinstance(path, Address) and path.is_hub:
        from cache_schema.hub.address import hub_address
        from cache_schema.hub.snapshot import hub_snapshot

        path = hub_snapshot(hub_address(path, "dataset"))
    if isinstance(path, Address):
        from cache_schema.object_backend.indexed import files_at
        from cache_schema.object_backend.reader import read_object_streams

        return Store(path, read_object_streams(files_at(path), on_damage, cache))
    if not path.exists():
        raise StoreNotFoundError(f"{path}: no such store. Make one with vllm-extract --out {path}.")
    if is_hdf5(path):
        from cache_schema.hdf5_backend.reader import read_hdf5_streams

        return Store(path, read_hdf5_streams(path, on_damage))
    from cache_schema.zarr_backend.reader import read_zarr_streams

    return Store(path, read_zarr_streams(path, on_damage))


def create_store(path: str | Place, *, of_copies: bool = False) -> StoreWriter:
    """Open a store for writing; it is made if it is not there.

    Args:
        path: As for ``open_store``.
        of_copies: What is written lies elsewhere, too. Then a bucket gets few large parts instead
            of one for each video, and a commit lasts from the end of its part on.

    Raises:
        ConfigError: if the path is an address of a hub, or of an HDF5 file in a bucket.
        StoreError: if the path holds something else.
    """
    path = to_place(path)
    if isinstance(path, Address):
        refuse_hub(path)
        if path.suffix.lower() in HDF5_SUFFIXES:
            raise ConfigError(
                f"{path}: an HDF5 file can only be written to a disk. Choose a name that ends in "
                ".zarr, or a path."
            )
        from cache_schema.object_backend.store import ObjectStoreWriter

        return ObjectStoreWriter(path, part_bytes=layout.PART_BYTES if of_copies else 0)
    if is_hdf5(path):
        from cache_schema.hdf5_backend.store import Hdf5StoreWriter

        return Hdf5StoreWriter(path)
    from cache_schema.zarr_backend.store import ZarrStoreWriter

    return ZarrStoreWriter(path)


def refuse_hub(path: Place) -> None:
    """Raise where a store is to be written or changed that lies on a hub.

    Raises:
        ConfigError: if it does.
    """
    if isinstance(path, Address) and path.is_hub:
        raise ConfigError(
            f"{path}: a hub takes stores that lie somewhere else. Write into a folder, and send "
            f"that with 'vllm-store push FOLDER {path}'."
        )


def stream_names(store: Store | None, recipes: Sequence[Recipe]) -> list[str]:
    """Return the names under which recipes' streams are, or will be, found in a store.

    The encoder's name (its id up to an ``@``) where that is free, else followed by the start of the
    fingerprint.
    """
    names: dict[str, str] = {}
    for stream in store.streams.values() if store is not None else ():
        names.setdefault(stream.recipe.fingerprint, stream.name)
    for recipe in recipes:
        names.setdefault(recipe.fingerprint, _free_name(recipe, names.values()))
    return [names[recipe.fingerprint] for recipe in recipes]


def _free_name(recipe: Recipe, taken: Collection[str]) -> str:
    # Behind an @ stands which code of others it was: too long for a name.
    name = recipe.encoder.id.partition("@")[0]
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-").lstrip("._-")
    if plain and plain not in taken:
        return plain
    return f"{plain or 'stream'}-{recipe.fingerprint[:8]}"
