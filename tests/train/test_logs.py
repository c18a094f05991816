import json
import logging

from train.logs import METRICS, RunLog


def write_steps(folder, first, last):
    with RunLog(folder, first_step=first, num_steps=9, enabled=True) as log:
        for step in range(first + 1, last + 1):
            log.step(step, {"loss": 1 / step})


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / METRICS).read_text().splitlines()]


def test_steps_of_a_run_that_was_cut_off_are_not_logged_twice(tmp_path):
    write_steps(tmp_path, 0, 5)
    write_steps(tmp_path, 3, 6)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_a_torn_last_line_is_dropped(tmp_path):
    write_steps(tmp_path, 0, 2)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"kind": "train", "st')
    write_steps(tmp_path, 2, 3)
    assert steps(tmp_path) == [1, 2, 3]


def test_epochs_are_lines_for_a_reader(tmp_path, caplog):
    with (
        caplog.at_level(logging.INFO, logger="train"),
        RunLog(tmp_path, first_step=0, num_steps=1, enabled=True) as log,
    ):
        log.epoch(7, 2, {"loss": 0.51234, "Acc": None})
    assert caplog.messages == ["epoch 2, step 7: loss 0.5123, Acc -"]


def test_tensorboard_gets_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_steps(tmp_path, 0, 2)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in events] == [(1, 1.0), (2, 0.5)]


def test_other_processes_write_nothing(tmp_path):
    with RunLog(tmp_path / "run", first_step=0, num_steps=1, enabled=False) as log:
        log.step(1, {"loss": 1.0})
        log.epoch(1, 1, {"loss": 1.0})
    assert not (tmp_path / "run").exists()
