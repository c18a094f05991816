"""Stores of many videos, made in seconds: the files that the writer would leave, written at once.

A writer waits for the disk three times a video, so a million would take hours. ``prove`` compares
what is made here with what the writer makes of the same videos. All features are zeros: in a Zarr
store they are holes, which take no room on the disk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import google_crc32c
import h5py
import numpy as np

from cache_schema import layout
from cache_schema.proof.verify import verify_store
from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import Commit, VideoRecord, encode_line
from cache_schema.store import create_store, open_store
from cache_schema.zarr_backend.headers import StreamHeader
from cache_schema.zarr_backend.rows import shard_path
from cache_schema.zarr_backend.seal import write_seal
from cache_schema.zarr_backend.shard import shard_end

__all__ = ["SIZE_BYTES", "make_store", "prove", "recipe", "video_ids", "write_store"]

SIZE_BYTES = 1_000_000
BLOCK_VIDEOS = 4096


def video_ids(count: int) -> list[str]:
    return [f"{number // 1000:04d}/video_{number:07d}" for number in range(count)]


def recipe() -> Recipe:
    """Return one whose rows need no network."""
    encoder = EncoderRecipe(
        id="many", weights_sha256="unknown", compute_dtype="unknown", pooling="unknown"
    )
    sampling = SamplingRecipe(fps=Fraction(2), frames_per_window=1, stride_frames=1)
    return Recipe(
        origin="imported",
        encoder=encoder,
        sampling=sampling,
        preprocess=None,
        decoder=None,
        store_dtype="float16",
    )


def record(number: int, video_id: str) -> VideoRecord:
    return VideoRecord(
        id=video_id,
        path=f"videos/{video_id}.mp4",
        digest=f"sha256-16x256k:{number * 0x9E3779B97F4A7C15 % 2**256:064x}",
        size_bytes=SIZE_BYTES,
        duration_seconds=10.0,
        fps=Fraction(30000, 1001),
        num_frames=300,
        width=1280,
        height=720,
        decoder="pyav 18.1.0",
        padded_frames=0,
    )


def times(rows: int) -> np.ndarray:
    """Return (rows, 2) seconds at two rows a second."""
    starts = np.arange(rows) / 2
    return np.stack([starts, starts + 0.5], axis=1)


def write_store(
    path: Path, made_by: Recipe, row_shape: tuple[int, ...], ids: Sequence[str], rows: int
) -> None:
    """Let the writer itself commit the videos."""
    with create_store(path) as writer:
        stream = writer.stream(made_by.encoder.id, made_by, row_shape)
        for number, video_id in enumerate(ids):
            stream.append(np.zeros((rows, *row_shape), np.float16))
            stream.commit(record(number, video_id), times(rows))


def make_store(
    path: Path, made_by: Recipe, row_shape: tuple[int, ...], ids: Sequence[str], rows: int
) -> None:
    """Make the same files at once."""
    with create_store(path) as writer:
        writer.stream(made_by.encoder.id, made_by, row_shape)
    if path.suffix == ".zarr":
        _make_parts(path / made_by.encoder.id, made_by, row_shape, ids, rows)
    else:
        _fill_file(path, made_by.encoder.id, row_shape, ids, rows)


def _make_parts(
    folder: Path, made_by: Recipe, row_shape: tuple[int, ...], ids: Sequence[str], rows: int
) -> None:
    header = StreamHeader(recipe=made_by, row_shape=row_shape)
    row_bytes = 2 * int(np.prod(row_shape))
    part_videos = -(-layout.PART_BYTES // (rows * row_bytes))  # full with the video that fills it
    for number, first in enumerate(range(0, len(ids), part_videos)):
        part = folder / layout.PARTS / f"{1_700_000_000_000 + number:013d}-{number:08x}"
        lines = list(_lines(ids[first : first + part_videos], row_shape, first, rows, first_row=0))
        num_rows, journal = len(lines) * rows, b"".join(lines)
        shard = shard_path(part, layout.TIME, ndim=2)
        shard.parent.mkdir(parents=True)
        end = shard_end(num_rows, 16)
        shard.write_bytes(np.tile(times(rows), (len(lines), 1)).astype("<f8").tobytes() + end)
        shard = shard_path(part, layout.FEATURES, ndim=1 + len(row_shape))
        shard.parent.mkdir(parents=True)
        with shard.open("wb") as file:
            file.seek(num_rows * row_bytes)
            file.write(shard_end(num_rows, row_bytes))
        (part / layout.COMMITS).write_bytes(journal)
        write_seal(part, header, num_rows, journal)


def _fill_file(
    path: Path, name: str, row_shape: tuple[int, ...], ids: Sequence[str], rows: int
) -> None:
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        group = file[name]
        for first in range(0, len(ids), BLOCK_VIDEOS):
            some = ids[first : first + BLOCK_VIDEOS]
            lines = b"".join(_lines(some, row_shape, first, rows, first_row=first * rows))
            for key, values in (
                (layout.FEATURES, np.zeros((len(some) * rows, *row_shape), np.float16)),
                (layout.TIME, np.tile(times(rows), (len(some), 1))),
                (layout.COMMITS, np.frombuffer(lines, np.uint8)),
            ):
                dataset, at = group[key], len(group[key])
                dataset.resize(at + len(values), axis=0)
                dataset[at:] = values


def _lines(
    ids: Sequence[str], row_shape: tuple[int, ...], first: int, rows: int, *, first_row: int
) -> Iterator[bytes]:
    commit = Commit(
        video=record(0, ""),
        first_row=0,
        num_rows=rows,
        features_crc32c=google_crc32c.value(bytes(2 * rows * int(np.prod(row_shape)))),
        time_crc32c=google_crc32c.value(times(rows).astype("<f8").tobytes()),
    )
    for number, video_id in enumerate(ids):
        video = record(first + number, video_id)
        yield encode_line(replace(commit, video=video, first_row=first_row + number * rows))


def prove(folder: Path, count: int = 40) -> None:
    """Compare what is made here with what the writer makes, in several parts; raise if it differs.

    Zarr stores have the same files, byte for byte, but for the names of parts. HDF5 files have the
    same attributes and datasets, but for the random ``store_id``; HDF5 may have put a chunk
    elsewhere.
    """
    ids, row_shape, rows, part_bytes = video_ids(count), (8,), 20, layout.PART_BYTES
    layout.PART_BYTES = 16 * 2 * 8 * rows
    try:
        for suffix in ("zarr", "h5"):
            written, made = folder / f"written.{suffix}", folder / f"made.{suffix}"
            write_store(written, recipe(), row_shape, ids, rows)
            make_store(made, recipe(), row_shape, ids, rows)
            if verify_store(made).problems or len(open_store(made).stream().video_ids) != count:
                raise SystemExit(f"{made}: is no whole store")
            contents = _files if suffix == "zarr" else _datasets
            if contents(written) != contents(made):
                raise SystemExit(f"{made}: is not what the writer makes")
    finally:
        layout.PART_BYTES = part_bytes


def _files(store: Path) -> list[tuple[str, bytes]]:
    """Return every file, parts numbered in their order."""
    parts = sorted(path.name for path in store.glob("*/parts/*") if path.is_dir())
    numbers = {name: str(number) for number, name in enumerate(parts)}
    return sorted(
        (
            "/".join(numbers.get(word, word) for word in path.relative_to(store).parts),
            path.read_bytes(),
        )
        for path in store.rglob("*")
        if path.is_file()
    )


def _datasets(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    with h5py.File(path, "r") as file:
        for name, group in file.items():
            found[name] = dict(group.attrs)
            for key, dataset in group.items():
                found[f"{name}/{key}"] = (dataset[:].tobytes(), dataset.shape, dataset.chunks)
    return found
