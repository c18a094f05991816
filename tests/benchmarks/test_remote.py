"""What the benchmark of remote stores measures with: a folder as a bucket, and a slow link."""

import time

import numpy as np
import pytest

from benchmarks.remote import CREDENTIALS, bench, child
from cache_schema.errors import StoreError
from cache_schema.store import open_store
from cache_schema.testing import make_store

RATE = 2e6
DELAY = 0.05


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """Give the address of a store in a folder, and the same behind a link."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    make_store(tmp_path / "bucket" / "f.zarr", {"a": 500, "b": 20}, row_shape=(1024,))
    with (
        child("benchmarks.s3_folder", str(tmp_path / "bucket")) as port,
        child("benchmarks.slow_link", f"127.0.0.1:{port}", str(DELAY), str(RATE)) as link,
    ):
        yield [f"s3+http://127.0.0.1:{one}/bucket/f.zarr" for one in (port, link)]


def test_a_folder_is_read_as_a_bucket(servers, tmp_path):
    far, local = (open_store(one).stream() for one in (servers[0], tmp_path / "bucket" / "f.zarr"))
    assert far.video_ids == ["a", "b"]
    for name in far.video_ids:
        assert np.array_equal(far.read(name).values, local.read(name).values)


def test_what_is_not_there_is_an_error(servers):
    with pytest.raises(StoreError, match="no such store"):
        open_store(servers[0].replace("f.zarr", "g.zarr"))


def test_a_link_delays_requests_and_shares_its_rate(servers):
    started = time.perf_counter()
    stream = open_store(servers[1]).stream()
    # Of the requests that open a store each of three at least waits for the one before.
    assert time.perf_counter() - started > 3 * DELAY
    started = time.perf_counter()
    rows = stream.read("a").values
    assert time.perf_counter() - started > rows.nbytes / RATE * 0.95


def test_an_epoch_is_read_once_over_the_link_and_then_from_the_cache(tmp_path):
    with bench(tmp_path, 500e6, 0.001, 8, None) as made:
        first = made.first_epoch("a")
        # Four parts of at least 2 MB each, the last video of each beyond it; crops may leave a
        # few rows out, and the times come before.
        assert 6e6 < first["fetched_bytes"] < 30e6
        assert 0 < first["link_share"] < 1
        later = made.later_epochs("a", 1)
        assert (later["fetched_bytes"], later["missed_bytes"]) == (0, 0)
