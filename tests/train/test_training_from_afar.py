import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cache_schema.errors import ConfigError
from tests.train.runs import make_config, use_toy_task
from tests.train.toy import ToyTask, make_features
from train.checkpoints.result import read_result
from train.cli import train
from train.config import CacheConfig
from train.feature_cache import feature_cache
from train.pages.metrics_log import read_metrics


@pytest.fixture
def run(tmp_path, monkeypatch, address):
    """Give what trains on features by their place, and tells the result and the losses."""
    use_toy_task(monkeypatch)
    make_features(address, ToyTask())
    config = make_config(tmp_path)

    def call(name, features, *settings):
        sets = ["train.llm.num_layers=0", "train.data.window_rows=16", *settings]
        flags = [
            *("--features", str(features), "--task", "toy", "--annotations", "none"),
            *("--llm", config.llm.name, "--out", str(tmp_path / name), "--epochs", "2"),
            *("--set", "train.data.context_rows=4", "--device", "cpu", "--json"),
        ]
        more = [word for one in sets for word in ("--set", one)]
        done = CliRunner().invoke(train, [*flags, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout), read_metrics(tmp_path / name / "metrics.jsonl")

    return call


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_a_run_from_a_bucket_is_that_from_this_machine_and_the_next_fetches_nothing(
    run, address, folder, tmp_path
):
    local, expected = run("local", tmp_path / "f.zarr")
    assert local["cache"] is None
    cached = f'train.cache.folder="{folder}"'
    far, metrics = run("far", address, cached)
    again, again_metrics = run("again", address, cached)
    for one, log in ((far, metrics), (again, again_metrics)):
        assert one["metrics"] == local["metrics"]
        assert log.losses_S.tolist() == expected.losses_S.tolist()
    # Statistics read the rows first, then two epochs, evaluations and the scores: mostly hits.
    assert 0.5 < far["cache"]["hit_rate"] < 1.0
    assert far["cache"]["fetched_bytes"] > 0
    assert again["cache"]["hit_rate"] == 1.0
    assert again["cache"]["fetched_bytes"] == 0
    assert again["cache"]["read_bytes"] == far["cache"]["read_bytes"]
    assert read_result(tmp_path / "again").cache.hit_rate == 1.0
    assert metrics.epochs[0].scores.keys() == expected.epochs[0].scores.keys()


def test_without_a_cache_it_reads_the_same(run, address, folder, tmp_path):
    _, expected = run("local", tmp_path / "f.zarr")
    far, metrics = run("far", address, "train.cache.gigabytes=0", f'train.cache.folder="{folder}"')
    assert metrics.losses_S.tolist() == expected.losses_S.tolist()
    assert far["cache"] is None
    assert not folder.exists()


def test_the_report_says_how_much_came_from_the_cache(tmp_path, address, monkeypatch, folder):
    use_toy_task(monkeypatch)
    make_features(address, ToyTask())
    config = make_config(tmp_path)
    flags = [
        *("--features", str(address), "--task", "toy", "--annotations", "none"),
        *("--llm", config.llm.name, "--out", str(tmp_path / "run"), "--epochs", "1"),
        *("--set", f'train.cache.folder="{folder}"', "--set", "train.llm.num_layers=0"),
        *("--set", "train.data.window_rows=16", "--set", "train.data.context_rows=4"),
    ]
    done = CliRunner().invoke(train, flags, catch_exceptions=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("features ")]
    assert f"of it from {folder}, " in line


def test_the_cache_lies_in_the_users_folder_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    config = make_config(tmp_path, features="s3://bucket/f.zarr")
    cache = feature_cache(config)
    assert str(cache.folder) == "/somewhere/video-feature-llm/features"
    assert cache.size_bytes == 100 * 10**9
    named = CacheConfig(folder="/scratch/features", gigabytes=0.5)
    cache = feature_cache(replace(config, cache=named))
    assert (str(cache.folder), cache.size_bytes) == ("/scratch/features", 500_000_000)
    assert feature_cache(make_config(tmp_path)) is None
    assert feature_cache(make_config(tmp_path, features="hf://datasets/user/name")) is None


def test_without_a_home_a_folder_must_be_named(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("train.feature_cache.user_cache_folder", no_home)
    with pytest.raises(ConfigError, match=r"\[train.cache\] folder: nothing says where"):
        feature_cache(make_config(tmp_path, features="s3://bucket/f.zarr"))
