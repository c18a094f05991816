"""Feature files that others made: which there are, and the array of one video.

``.npy``, ``.npz`` and ``.pt`` hold one video each; an ``.h5`` file holds one dataset per video, an
LMDB database one vector per frame of each. No pickle is ever loaded, so object arrays and anything
but tensors in a ``.pt`` file are refused.
"""

import pickle
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from cache_schema.errors import SourceError
from extract.tools.frame_database import database_videos, read_frames

__all__ = ["FeatureFile", "find_feature_files", "has_cheap_shape", "read_features", "read_shape"]

HDF5_SUFFIXES = (".h5", ".hdf5")
LMDB_SUFFIXES = (".mdb", ".lmdb")
SUFFIXES = (".npy", ".npz", ".pt", ".pth", *HDF5_SUFFIXES, *LMDB_SUFFIXES)
LMDB_LOCK = "lock.mdb"
"""Lies beside a database and is none."""

Values = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureFile:
    """Where the features of one video lie."""

    video_id: str
    path: Path
    key: str | None
    """Name of the array inside the file, in a database of the video; None if the file is one
    array."""

    def __str__(self) -> str:
        return f"{self.path}" if self.key is None else f"{self.path} ({self.key})"


def find_feature_files(
    source: Path, key: str | None, group_key: str | None = None
) -> list[FeatureFile]:
    """Return the features of every video in a folder (searched recursively) or file, by id.

    The id is the path below the folder without suffix; for a dataset of an ``.h5`` file its path
    in the file follows, and for a video of an LMDB database its name follows the database's folder.
    A file named directly adds no prefix to the ids of what it holds.

    Args:
        source: Folder or file.
        key: Name of the array inside each ``.npz`` or ``.pt`` file.
        group_key: Name of the dataset inside each video's group of an ``.h5`` file; None if the
            datasets are the videos.

    Raises:
        SourceError: if there is none, or if two claim one id.
    """
    found = sorted(_walk(source, key, group_key), key=lambda file: file.video_id)
    if not found:
        raise SourceError(f"{source}: no feature file there. Looked for {', '.join(SUFFIXES)}.")
    for first, second in pairwise(found):
        if first.video_id == second.video_id:
            raise SourceError(
                f"{first} and {second} would both be video '{first.video_id}'. "
                "Import one of them, or move them apart."
            )
    return found


def read_features(file: FeatureFile) -> Values:
    """Return the array of one video as it is in its file.

    Raises:
        SourceError: if the file cannot be read, needs pickle, or has no such array.
    """
    suffix = file.path.suffix.lower()
    with _read_errors(file):
        if suffix in (".npy", ".npz"):
            with file.path.open("rb") as opened:
                return _load_numpy(file, opened)
        if suffix in HDF5_SUFFIXES:
            with h5py.File(file.path) as datasets:
                return _numpy(datasets[file.key][()])
        if suffix in LMDB_SUFFIXES:
            return read_frames(file.path, file.key or "")
        return _tensor(file, torch.load(file.path, map_location="cpu", weights_only=True))


def has_cheap_shape(file: FeatureFile) -> bool:
    """Tell whether ``read_shape`` reads no more than a header."""
    return file.path.suffix.lower() == ".npy"


def read_shape(file: FeatureFile) -> tuple[int, ...]:
    """Return the shape of one video's array.

    ``.npz`` and ``.pt`` files, and the frames of a database, are read whole for it.

    Raises:
        SourceError: as ``read_features`` does.
    """
    suffix = file.path.suffix.lower()
    with _read_errors(file):
        if suffix == ".npy":
            mapped: Values = np.load(file.path, mmap_mode="r", allow_pickle=False)
            return mapped.shape
        if suffix in HDF5_SUFFIXES:
            with h5py.File(file.path) as datasets:
                shape: tuple[int, ...] = datasets[file.key].shape
                return shape
    return read_features(file).shape


@contextmanager
def _read_errors(file: FeatureFile) -> Iterator[None]:
    """Say of which file, and as a ``SourceError``, what a library raises on reading it."""
    try:
        yield
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        raise SourceError(f"{file}: cannot be read: {_first_line(error)}.") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{file}: is damaged or holds Python objects, which are never loaded; expected plain "
            f"arrays or tensors ({_first_line(error)})."
        ) from error


def _walk(source: Path, key: str | None, group_key: str | None) -> Iterator[FeatureFile]:
    if not source.exists():
        raise SourceError(f"{source}: no such file or folder.")
    root, paths = (source, source.rglob("*")) if source.is_dir() else (source.parent, [source])
    for path in paths:
        suffix, place = path.suffix.lower(), path.relative_to(root)
        hidden = any(part.startswith(".") for part in place.parts) or path.name == LMDB_LOCK
        if hidden or suffix not in SUFFIXES or not path.is_file():
            continue
        video_id = place.with_suffix("").as_posix()
        if suffix in HDF5_SUFFIXES:
            prefix = f"{video_id}/" if source.is_dir() else ""
            yield from _in_one(path, prefix, _hdf5_videos(path, group_key))
        elif suffix in LMDB_SUFFIXES:
            prefix = "" if place.parent == Path() else f"{place.parent.as_posix()}/"
            yield from _in_one(path, prefix, ((name, name) for name in database_videos(path)))
        else:
            yield FeatureFile(video_id=video_id, path=path, key=key)


def _in_one(path: Path, prefix: str, videos: Iterable[tuple[str, str]]) -> Iterator[FeatureFile]:
    """Yield the videos of one file, given by name and key."""
    for name, key in videos:
        yield FeatureFile(video_id=prefix + name, path=path, key=key)


def _hdf5_videos(path: Path, key: str | None) -> list[tuple[str, str]]:
    """Return (video, path of its dataset) for every video of an HDF5 file."""
    names: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise SourceError(f"{path}: HDF5 cannot read it: {error}.") from error
    if key is None:
        return [(name, name) for name in names]
    end = f"/{key}"
    return [(name.removesuffix(end), name) for name in names if name.endswith(end)]


def _load_numpy(file: FeatureFile, opened: BinaryIO) -> Values:
    loaded = np.load(opened, allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        return _numpy(loaded[_only(file, list(loaded))])
    return _numpy(loaded)


def _only(file: FeatureFile, keys: list[str]) -> str:
    """Return the asked-for key, or the only one there is."""
    if file.key is None and len(keys) == 1:
        return keys[0]
    if file.key not in keys:
        raise SourceError(f"{file}: holds {', '.join(sorted(keys))}. Choose one with --key.")
    return file.key


def _tensor(file: FeatureFile, value: object) -> Values:
    if isinstance(value, dict):
        value = value[_only(file, [str(key) for key in value])]
    if not isinstance(value, torch.Tensor):
        raise SourceError(f"{file}: holds {type(value).__name__}, expected a tensor or a dict.")
    # NumPy has no bfloat16; float32 holds every one of its values.
    return _numpy((value.float() if value.dtype == torch.bfloat16 else value).numpy())


def _numpy(value: object) -> Values:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"holds {kind}, expected an array of floating point numbers")
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
