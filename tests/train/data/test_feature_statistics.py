from dataclasses import replace

import numpy as np
import pytest

from cache_schema.errors import StoreError
from tests.train.toy import ToyTask, make_store
from train.data import feature_statistics as module
from train.data.feature_statistics import feature_statistics
from train.data.samples import find_rows


def measure(path, videos, **options):
    stream = make_store(path / "f.zarr", videos, **options).stream()
    task = ToyTask(train={name: len(values) for name, values in videos.items()})
    found = find_rows(task.samples("train"), stream, allow_missing=0)
    return feature_statistics(stream, found.rows)


def noise(num_rows, shape=(4,)):
    scale = np.array([1e-3, 1.0, 50.0, 1e3])
    values = np.random.default_rng(num_rows).normal(size=(num_rows, *shape)) * scale + 3 * scale
    return values.astype(np.float32)


@pytest.mark.parametrize("block_rows", [1024, 7])
def test_streamed_moments_equal_those_of_all_rows_at_once(tmp_path, monkeypatch, block_rows):
    monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    videos = {"a": noise(100), "b": noise(33), "c": noise(1)}
    mean, std = measure(tmp_path, videos, dtype="float32")
    rows = np.concatenate(list(videos.values())).astype(np.float64)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, rows.std(axis=0), rtol=1e-12)


def test_rows_between_two_samples_of_a_video_do_not_count(tmp_path):
    values = noise(60)
    values[25:40] = 1e6
    stream = make_store(tmp_path / "f.zarr", {"a": values}, dtype="float32").stream()
    whole = find_rows(ToyTask(train={"a": 60}).samples("train"), stream, allow_missing=0).rows[0]
    parts = [(40, 20), (0, 15), (10, 15)]  # the last two share rows, which count once
    samples = [replace(whole, first_row=first, num_stored=num) for first, num in parts]
    mean, _ = feature_statistics(stream, samples)
    rows = np.concatenate([values[:25], values[40:]]).astype(np.float64)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-12)


def test_grid_rows_are_pooled_before_they_are_measured(tmp_path):
    videos = {"a": noise(20, (5, 4))}
    mean, std = measure(tmp_path, videos, dtype="float32")
    pooled = videos["a"].mean(axis=1)
    np.testing.assert_allclose(mean, pooled.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, pooled.std(axis=0), rtol=1e-5)


def test_a_constant_dimension_is_not_blown_up(tmp_path):
    mean, std = measure(tmp_path, {"a": np.full((6, 2), 0.5, np.float32)})
    assert mean.tolist() == [0.5, 0.5]
    assert std.tolist() == [1.0, 1.0]


def test_infinite_features_are_refused_by_video(tmp_path):
    bad = noise(5)
    bad[2, 1] = np.inf
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(StoreError, match="video 'b' holds infinite or undefined"),
    ):
        measure(tmp_path, {"a": noise(4), "b": bad}, dtype="float32")
