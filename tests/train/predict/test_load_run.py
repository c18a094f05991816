import numpy as np
import pytest

from cache_schema import ConfigError, RecipeMismatchError, open_store
from tests.train.runs import make_config, make_trainer, use_toy_task
from tests.train.toy import WIDTH, make_store, times
from train import load_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    make_trainer(make_config(tmp_path), tmp_path / "run").train()
    return load_run(tmp_path / "run", device="cpu")


def test_rows_in_memory_are_answered_as_those_of_a_store(run, tmp_path):
    stream = open_store(tmp_path / "f.zarr").stream()
    (stored,) = run.predict(stream, ["d"])
    rows = stream.read("d")
    assert run.predict_rows(rows.float32, rows.times_R2, video="d") == stored
    assert len(stored.segments) > 1


def test_rows_of_another_width_are_refused(run):
    with pytest.raises(ConfigError, match=r"\(7,\) each, the run was trained on \(6,\)"):
        run.predict_rows(np.zeros((2, WIDTH + 1), np.float32), times(2))


def test_a_stream_of_another_recipe_is_refused(run, tmp_path):
    store = make_store(tmp_path / "g.zarr", {"d": np.zeros((2, WIDTH))}, encoder="other")
    for features in (store, store.stream()):
        with pytest.raises(RecipeMismatchError, match=r"encoder\.id = other, not toy"):
            list(run.predict(features))
