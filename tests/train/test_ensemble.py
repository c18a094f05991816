import numpy as np
import pytest

from cache_schema.errors import CheckpointError
from tests.train.runs import make_config, make_trainer, use_toy_task
from train.ensemble import mean_outputs, predict_runs


def test_log_probabilities_are_averaged_not_logits():
    # Softmax of [0, ln 3] is [1/4, 3/4], of [ln 1e6 + 0, ln 1e6] is [1/2, 1/2].
    first = {"current": np.log(np.array([[1.0, 3.0]], np.float32))}
    second = {"current": np.log(np.array([[1e6, 1e6]], np.float32))}
    expected = (np.log([[0.25, 0.75]]) + np.log([[0.5, 0.5]])) / 2
    np.testing.assert_allclose(mean_outputs([first, second])["current"], expected, rtol=1e-5)


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
    settings = {"stream_name": "", "annotations": "", "options": {}}
    return predict_runs(
        runs, features, subset="val", allow_missing=0, device="cpu", **settings
    ).outputs


def test_two_runs_decide_together(runs):
    alone = [predict([run]) for run in runs]
    for (_, first, _), (_, second, _), (_, both, _) in zip(*alone, predict(runs), strict=True):
        for name, expected in mean_outputs([first, second]).items():
            np.testing.assert_allclose(both[name], expected, atol=1e-6)


def test_runs_of_different_tasks_cannot_decide_together(runs, monkeypatch):
    from train import ensemble

    load = ensemble.load_trained_run

    class OtherTask:
        name = "another"

    def loaded(run, *args, **kwargs):
        trained = load(run, *args, **kwargs)
        if run == runs[1]:
            object.__setattr__(trained, "task", OtherTask())
        return trained

    monkeypatch.setattr(ensemble, "load_trained_run", loaded)
    with pytest.raises(CheckpointError, match="learned another"):
        predict(runs)
