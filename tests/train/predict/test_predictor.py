import numpy as np
import pytest
import torch

from tests.train.runs import make_config, make_trainer, use_toy_task, with_optim
from tests.train.toy import ToyTask, labels_of
from train.predict.predictor import Predictor, score_table, write_and_score


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    return make_trainer(make_config(tmp_path), tmp_path / "run")


def predictor(trainer, **changes):
    settings = {
        "model": trainer.model,
        "name": "toy",
        "ask": trainer.run.tasks[0].task.targets,
        "loss": trainer.run.tasks[0].task.loss,
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
    val = trainer.run.tasks[0].val
    outputs = list(predictor(trainer).predict(val).outputs)
    assert [output.sample.video_id for output in outputs] == ["d", "e"]  # the longer one first
    for rows, output in zip(val, outputs, strict=True):
        np.testing.assert_allclose(output.rows("current"), naive(trainer, rows), atol=1e-5)
        assert len(output.times_R2) == rows.num_rows


def test_the_loss_is_the_mean_over_all_rows(trainer):
    val = trainer.run.tasks[0].val
    prediction = predictor(trainer, batch_size=1).predict(val)
    logits = np.concatenate([output.rows("current") for output in prediction.outputs])
    targets = np.concatenate([labels_of(rows.video_id, rows.num_rows) for rows in val])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.tensor(targets))
    assert prediction.loss == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture
def alone(monkeypatch):
    """One of two processes, to which nobody else sends."""
    for name in ("gather_object", "_sent_to_main"):
        monkeypatch.setattr(f"train.predict.predictor.{name}", lambda part: part)


@pytest.mark.usefixtures("alone")
def test_processes_predict_disjoint_samples(trainer):
    val = trainer.run.tasks[0].val
    whole = list(predictor(trainer).predict(val).outputs)
    shares = [
        list(predictor(trainer, rank=rank, num_processes=2).predict(val).outputs)
        for rank in range(2)
    ]
    assert [[one.sample.video_id for one in share] for share in shares] == [["d"], ["e"]]
    for (output,), expected in zip(shares, whole, strict=True):
        np.testing.assert_allclose(output.rows("current"), expected.rows("current"), atol=1e-5)


@pytest.mark.usefixtures("alone")
def test_none_of_several_processes_predicts_further_than_asked(trainer):
    calls = []
    trainer.model.register_forward_hook(lambda *_: calls.append(1))
    val = trainer.run.tasks[0].val
    several = predictor(trainer, batch_size=1, num_processes=2)
    outputs = several.predict([*val, *val]).outputs  # of d, d, e, e the first process has d and e
    assert next(outputs).sample.video_id == "d"
    assert len(calls) == 3
    assert [one.sample.video_id for one in outputs] == ["e"]
    assert len(calls) > 3


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("together", [False, True])
def test_processes_call_the_model_equally_often_where_each_call_takes_all(trainer, together):
    calls = []
    trainer.model.register_forward_hook(lambda *_: calls.append(1))
    counts = []
    for rank in range(2):
        several = predictor(trainer, batch_size=1, rank=rank, num_processes=2, together=together)
        assert len(list(several.predict(trainer.run.tasks[0].val).outputs)) == 1
        counts.append(len(calls))
        calls.clear()
    assert (counts[0] == counts[1]) == together


def test_one_process_predicts_no_further_than_asked(trainer):
    calls = []
    trainer.model.register_forward_hook(lambda *_: calls.append(1))
    outputs = predictor(trainer, batch_size=1).predict(trainer.run.tasks[0].val).outputs
    next(outputs)
    assert len(calls) == 3  # the first sample has three windows
    outputs.close()


def test_scores_are_those_of_the_written_file(trainer, tmp_path):
    outputs = predictor(trainer).predict(trainer.run.tasks[0].val).outputs
    scores = write_and_score(trainer.run.tasks[0].task, outputs, tmp_path / "new" / "submission")
    assert scores == ToyTask().score(tmp_path / "new" / "submission")


def test_training_does_not_change_how_evaluation_runs(trainer):
    losses = []
    for mode in (False, True):
        trainer.model.train(mode)
        prediction = predictor(trainer).predict(trainer.run.tasks[0].val)
        assert len(list(prediction.outputs)) == 2
        losses.append(prediction.loss)
    assert losses[0] == losses[1]


def test_the_table_aligns_metrics_and_columns():
    table = score_table({"model": {"Acc": 61.25, "F1@0.1": 5.0}, "chance": {"Acc": 0.12345}})
    assert table.splitlines() == [
        "metric  model  chance",
        "Acc     61.25  0.1235",
        "F1@0.1   5.00       -",
    ]


def test_predictor_takes_the_run_batch_size(tmp_path, trainer):
    object.__setattr__(trainer.run, "config", with_optim(trainer.config, batch_size=7))
    assert trainer.validation.predictor(trainer.run.tasks[0].task).batch_size == 7
