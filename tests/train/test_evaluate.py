import numpy as np
import pytest
import torch

from tests.train.runs import make_config, make_trainer, use_toy_task, with_optim
from tests.train.toy import ToyTask
from train.evaluate import Predictor, score_table, write_and_score


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    return make_trainer(make_config(tmp_path), tmp_path / "run")


def predictor(trainer, **changes):
    settings = {
        "model": trainer.model,
        "task": trainer.run.task,
        "stream": trainer.run.stream,
        "data": trainer.config.data,
        "batch_size": 2,
        "device": torch.device("cpu"),
    }
    return Predictor(**{**settings, **changes})


def naive(trainer, rows, window_rows=16, context_rows=4):
    """Predict one sample window by window, by hand."""
    values = torch.from_numpy(trainer.run.stream.read(rows.video_id).values).float()
    pieces, done = [], 0
    while done < rows.num_rows:
        start = max(0, done - context_rows)
        window = values[None, start : start + window_rows]
        with torch.inference_mode():
            valid = torch.ones(window.shape[:2], dtype=torch.bool)
            logits = trainer.model.eval()(window, valid, "toy")["current"][0]
        pieces.append(logits[done - start :])
        done += len(pieces[-1])
    return torch.cat(pieces).numpy()


def test_stitched_outputs_equal_windows_predicted_by_hand(trainer):
    prediction = predictor(trainer).predict(trainer.run.val)
    assert [sample.video_id for sample, _, _ in prediction.outputs] == ["d", "e"]
    for rows, (_, outputs, times_R2) in zip(trainer.run.val, prediction.outputs, strict=True):
        np.testing.assert_allclose(outputs["current"], naive(trainer, rows), atol=1e-5)
        assert len(times_R2) == rows.num_rows


def test_the_loss_is_the_mean_over_all_rows(trainer):
    prediction = predictor(trainer, batch_size=1).predict(trainer.run.val)
    logits = np.concatenate([outputs["current"] for _, outputs, _ in prediction.outputs])
    targets = np.concatenate([rows.targets["current"] for rows in trainer.run.val])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.tensor(targets))
    assert prediction.loss == pytest.approx(float(expected), rel=1e-5)


def test_processes_predict_disjoint_samples(trainer, monkeypatch):
    whole = predictor(trainer).predict(trainer.run.val).outputs
    parts = []
    monkeypatch.setattr("train.evaluate.gather_object", lambda part: parts.append(part) or part)
    for rank in range(2):
        with pytest.raises(KeyError):  # nobody sends the other process's sample here
            predictor(trainer, rank=rank, num_processes=2).predict(trainer.run.val)
    shares = [parts[0], parts[2]]  # each process gathers outputs, then loss sums
    assert [[index for index, _ in share] for share in shares] == [[0], [1]]
    for share in shares:
        for index, outputs in share:
            np.testing.assert_allclose(outputs["current"], whole[index][1]["current"], atol=1e-5)


def test_scores_are_those_of_the_written_file(trainer, tmp_path):
    outputs = predictor(trainer).predict(trainer.run.val).outputs
    scores = write_and_score(trainer.run.task, outputs, tmp_path / "new" / "submission")
    assert scores == ToyTask().score(tmp_path / "new" / "submission")


def test_training_does_not_change_how_evaluation_runs(trainer):
    first = predictor(trainer).predict(trainer.run.val)
    trainer.model.train()
    assert predictor(trainer).predict(trainer.run.val).loss == first.loss


def test_the_table_aligns_metrics_and_columns():
    table = score_table({"model": {"Acc": 61.25, "F1@0.1": 5.0}, "chance": {"Acc": 0.12345}})
    assert table.splitlines() == [
        "metric  model  chance",
        "Acc     61.25  0.1235",
        "F1@0.1   5.00       -",
    ]


def test_predictor_takes_the_run_batch_size(tmp_path, trainer):
    trainer.config = with_optim(trainer.config, batch_size=7)
    assert trainer._predictor().batch_size == 7
