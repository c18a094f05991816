from dataclasses import replace

import numpy as np
import pytest

from cache_schema.errors import CheckpointError
from tests.train.runs import make_config, make_trainer, use_toy_task
from tests.train.toy import ToyAnswers
from train.predict.ensemble import mean_log_probabilities, open_runs
from train.predict.subset import predict_subset


def test_log_probabilities_are_averaged_not_logits():
    # Softmax of [0, ln 3] is [1/4, 3/4], of [ln 1e6 + 0, ln 1e6] is [1/2, 1/2].
    first = np.log(np.array([[1.0, 3.0]], np.float32))
    second = np.log(np.array([[1e6, 1e6]], np.float32))
    expected = (np.log([[0.25, 0.75]]) + np.log([[0.5, 0.5]])) / 2
    np.testing.assert_allclose(mean_log_probabilities([first, second]), expected, rtol=1e-5)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    folders = []
    for seed in (0, 1):
        trainer = make_trainer(make_config(tmp_path, seed=seed), tmp_path / f"run{seed}")
        trainer.train()
        folders.append(tmp_path / f"run{seed}")
    return folders


def predict(runs):
    features = runs[0].parent / "f.zarr"
    ensemble = open_runs(runs, device="cpu", task_name="", options={})
    where = {"stream_names": (), "annotations": ""}
    prediction = predict_subset(ensemble, features, subset="val", allow_missing=0, **where)
    return list(prediction.outputs)


def test_two_runs_decide_together(runs):
    alone = [predict([run]) for run in runs]
    for first, second, both in zip(*alone, predict(runs), strict=True):
        expected = mean_log_probabilities([first.rows("current"), second.rows("current")])
        np.testing.assert_allclose(both.rows("current"), expected, atol=1e-6)


def test_runs_of_different_tasks_cannot_decide_together(runs, monkeypatch):
    names = iter(["toy", "another"])
    monkeypatch.setattr("train.predict.trained_run.the_task", lambda config, name: next(names))
    with pytest.raises(CheckpointError, match="learned another"):
        predict(runs)


def test_outputs_that_have_no_mean_cannot_be_joined(runs, monkeypatch):
    monkeypatch.setattr(ToyAnswers, "facts", replace(ToyAnswers.facts, class_outputs=False))
    use_toy_task(monkeypatch)
    assert len(predict(runs[:1])) == 2
    with pytest.raises(CheckpointError, match="2 runs of toy cannot decide together"):
        predict(runs)
