import json

from tests.train.pages.run_folders import log_of, step, write_log
from train.pages.metrics_log import read_metrics


def test_steps_become_arrays_and_epochs_entries(tmp_path):
    write_log(tmp_path, log_of([{"Acc": 10.0, "F1": None}, {"Acc": 20.0, "F1": 1.0}], loss=6.0))
    log = read_metrics(tmp_path / "metrics.jsonl")
    assert log.steps_S.tolist() == [1, 2, 3, 4]
    assert log.losses_S.tolist() == [6.0, 3.0, 2.0, 1.5]
    assert log.rows_S.sum() == 64
    assert [(one.epoch, one.step, one.loss) for one in log.epochs] == [(1, 2, 6.0), (2, 4, 3.0)]
    assert log.epochs[0].scores == {"Acc": 10.0, "F1": None}
    assert log.evaluation_seconds == 0.5
    assert log.at(2) is log.epochs[1]
    assert log.at(None) is None


def test_an_epoch_that_was_not_evaluated_has_neither_loss_nor_scores(tmp_path):
    entry = {"kind": "epoch", "step": 1, "epoch": 1, "total_rows": 9, "total_seconds": 1.0}
    write_log(tmp_path, [step(1, 1, 2.0), entry])
    log = read_metrics(tmp_path / "metrics.jsonl")
    assert (log.epochs[0].loss, log.epochs[0].scores, log.evaluation_seconds) == (None, {}, None)


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    write_log(tmp_path, [step(1, 1, 2.0)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert read_metrics(tmp_path / "metrics.jsonl").num_steps == 1


def test_no_log_is_an_empty_one(tmp_path):
    log = read_metrics(tmp_path / "metrics.jsonl")
    assert (log.num_steps, log.epochs) == (0, [])


def test_what_is_measured_within_an_epoch_is_no_end_of_one(tmp_path):
    entries = [
        {"kind": "evaluation", "step": 3, "epoch": 1.5, "evaluation_loss": 2.0, "Acc": 5.0},
        {"kind": "epoch", "step": 4, "epoch": 2},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    log = read_metrics(path)
    assert [one.epoch for one in log.epochs] == [2]
    assert [one.epoch for one in log.evaluations] == [1.5, 2]
    assert log.at(1.5).scores == {"Acc": 5.0}
