import os

import numpy as np
import pytest

from cache_schema import layout
from cache_schema.convert.compact import compact_store
from cache_schema.hdf5_backend import store as hdf5_store
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows
from tests.kill.power import Disk

ROW_SHAPES = {"flat": (64,), "grid": (3, 16)}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def disk(root, monkeypatch):
    monkeypatch.setattr(layout, "PART_BYTES", 12_000)
    monkeypatch.setattr(hdf5_store, "CHUNK_BYTES", 4096)
    disk = Disk(root)
    yield disk
    disk.close()


def rows_of(number, stream):
    return make_rows(11 + 9 * number, ROW_SHAPES[stream], seed=number)


def write(out, numbers, acknowledged):
    """Commit videos to two streams, and note each once its commit has returned."""
    writer = create_store(out)
    streams = {
        name: writer.stream(name, make_recipe(encoder_id=name), shape)
        for name, shape in ROW_SHAPES.items()
    }
    for number in numbers:
        for name, stream in streams.items():
            stream.append(rows_of(0, name))
            stream.abandon()
            add_video(stream, str(number), rows_of(number, name))
            acknowledged.append((name, str(number)))
    writer.close()


def check(out, acknowledged):
    """Everything acknowledged is there and equal, and nothing is damaged."""
    streams = open_store(out).streams.values() if out.exists() else []
    found = {(stream.name, video) for stream in streams for video in stream.video_ids}
    assert set(acknowledged) <= found
    for stream in streams:
        for video in stream.video_ids:
            np.testing.assert_array_equal(
                stream.read(video).values, rows_of(int(video), stream.name)
            )
    if found:
        assert verify_store(out).problems == []


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_whatever_was_synced_last_every_acknowledged_video_survives_a_power_cut(
    root, disk, tmp_path, monkeypatch, suffix
):
    acknowledged = []

    def fsync(descriptor):
        disk.fsync(descriptor)
        after = tmp_path / f"after{disk.num_syncs}"
        disk.restore(after)
        check(after / "new" / f"s{suffix}", acknowledged)

    monkeypatch.setattr(os, "fsync", fsync)
    out = root / "new" / f"s{suffix}"
    write(out, range(4), acknowledged)
    write(out, range(4, 7), acknowledged)
    assert len(acknowledged) == 14
    assert disk.num_syncs > 40


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_compaction_changes_nothing_whenever_the_power_is_cut(
    root, disk, tmp_path, monkeypatch, suffix
):
    monkeypatch.setattr(os, "fsync", disk.fsync)
    out = root / f"s{suffix}"
    for first in (0, 2, 1):  # so 1, 2 and 3 are there twice
        write(out, range(first, first + 3), [])
    before = store_digest(open_store(out))
    digests = []

    def fsync(descriptor):
        disk.fsync(descriptor)
        after = tmp_path / f"after{disk.num_syncs}"
        disk.restore(after)
        digests.append(store_digest(open_store(after / out.name)))

    monkeypatch.setattr(os, "fsync", fsync)
    compact_store(out)
    assert len(digests) > 5
    assert set(digests) == {before}
    assert store_digest(open_store(out)) == before
