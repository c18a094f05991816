import hashlib
from dataclasses import replace

import numpy as np
import pytest

from cache_schema import layout
from cache_schema.proof.digest import store_digest
from cache_schema.store import create_store, open_store
from cache_schema.testing import (
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
    make_video,
)


def test_the_digest_is_the_documented_one(tmp_path):
    store = make_store(tmp_path / "s.zarr", {"b": 3, "ä": 1})
    fingerprint = make_recipe().fingerprint
    parts = [
        b"video-feature-store digest 1\n",
        f'{{"fingerprint":"{fingerprint}","num_videos":2,"row_shape":[4],"stream":"tiny"}}\n'.encode(),
        b'{"digest":"digest of b","id":"b","num_rows":3}\n',
        np.array([[0, 0.5], [0.5, 1], [1, 1.5]], "<f8").tobytes(),
        make_rows(3).astype("<f2").tobytes(),
        '{"digest":"digest of ä","id":"ä","num_rows":1}\n'.encode(),
        np.array([[0, 0.5]], "<f8").tobytes(),
        make_rows(1, seed=1).astype("<f2").tobytes(),
    ]
    assert store_digest(store) == hashlib.sha256(b"".join(parts)).hexdigest()


def test_parts_backend_order_and_copies_do_not_change_it(tmp_path, monkeypatch):
    videos = {"a": 60, "b": 60, "c": 5}
    expected = store_digest(make_store(tmp_path / "one.zarr", videos))
    assert store_digest(make_store(tmp_path / "one.h5", videos)) == expected
    monkeypatch.setattr(layout, "PART_BYTES", 1)
    make_store(tmp_path / "parts.zarr", videos)
    writer = create_store(tmp_path / "parts.zarr")
    add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(9, seed=9))
    writer.close()
    store = open_store(tmp_path / "parts.zarr")
    assert len(store.stream().parts) == 4
    assert store_digest(store) == expected


def written(path, *, video, values, times, stream="tiny", recipe=None):
    writer = create_store(path)
    into = writer.stream(stream, recipe or make_recipe(), (4,))
    into.append(values)
    into.commit(video, times)
    writer.close()
    return store_digest(open_store(path))


@pytest.mark.parametrize(
    "change",
    [
        {"values": make_rows(3, seed=1)},
        {"times": make_times(3) + 0.001},
        {"video": make_video("b")},
        {"video": replace(make_video("a"), digest="other")},
        {"stream": "other"},
        {"recipe": make_recipe(encoder_id="other")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_a_reader_gets_changes_it(tmp_path, change):
    plain = {"video": make_video("a"), "values": make_rows(3), "times": make_times(3)}
    before = written(tmp_path / "a.zarr", **plain)
    assert written(tmp_path / "b.zarr", **{**plain, **change}) != before


def test_where_a_video_lay_does_not_change_it(tmp_path):
    plain = {"values": make_rows(3), "times": make_times(3)}
    moved = replace(make_video("a"), path="elsewhere/a.mp4", size_bytes=7)
    before = written(tmp_path / "a.zarr", video=make_video("a"), **plain)
    assert written(tmp_path / "b.zarr", video=moved, **plain) == before


def test_blocks_of_any_size_give_the_same_digest(tmp_path, monkeypatch):
    store = make_store(tmp_path / "s.h5", {"a": 100})
    whole = store_digest(store)
    monkeypatch.setattr("cache_schema.proof.blocks.BLOCK_BYTES", 7 * 8)
    seen = []
    assert store_digest(store, seen.append) == whole
    assert seen == [100]
