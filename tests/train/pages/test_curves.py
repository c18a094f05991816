import json

import numpy as np
import pytest

from tests.train.pages.run_folders import (
    checkpoint_of,
    config_of,
    log_of,
    result_of,
    step,
    write_run,
)
from train.pages.curves import MOST_POINTS, learning_curves, shown_steps, smoothed
from train.pages.run_facts import read_runs


def values(curve):
    """Return all points of a plot."""
    return [
        point for data in json.loads(curve.specification)["datasets"].values() for point in data
    ]


def test_the_average_starts_at_the_first_value_and_follows_the_last_ones():
    assert smoothed(np.full(200, 3.0)) == pytest.approx(np.full(200, 3.0))
    smooth_S = smoothed(np.concatenate([np.full(500, 1.0), np.full(500, 5.0)]))
    assert smooth_S[499] == pytest.approx(1.0)
    assert 1 < smooth_S[505] < 3
    assert smooth_S[-1] == pytest.approx(5.0, abs=1e-6)


def test_the_average_is_that_of_a_loop():
    values_S = np.random.default_rng(0).normal(size=60)
    decay = 1 - 2 / (0.04 * 60 + 1)
    total, weight, expected = 0.0, 0.0, []
    for value in values_S:
        total, weight = decay * total + value, decay * weight + 1
        expected.append(total / weight)
    assert smoothed(values_S) == pytest.approx(np.array(expected))


def test_few_steps_are_all_shown():
    assert shown_steps(np.arange(5.0), np.zeros(5)).tolist() == [0, 1, 2, 3, 4]
    assert shown_steps(np.array([]), np.array([])).tolist() == []


def test_of_many_steps_those_that_stand_out_are_shown():
    values_S = np.zeros(10_000)
    values_S[[1234, 8000]] = 9.0
    places = shown_steps(values_S, np.zeros(10_000))
    assert len(places) == MOST_POINTS
    assert {1234, 8000} <= set(places.tolist())


def test_a_long_run_makes_a_small_plot(tmp_path):
    entries = [step(number, 1, 2.0 + number % 3) for number in range(1, 20_001)]
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(best_epoch=None), entries=entries)
    loss, rate = learning_curves(read_runs([folder]))
    assert len(values(loss)) == len(values(rate)) == MOST_POINTS
    assert len(loss.specification) < 50_000


def test_the_best_step_is_marked_where_the_best_epoch_ended(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(best_epoch=2))
    *evaluated, _ = learning_curves(read_runs([folder]))
    for curve, field in zip(evaluated, ("smoothed", "value", "loss"), strict=True):
        layers = json.loads(curve.specification)["layer"]
        (rule,) = (one for one in layers if one["mark"]["type"] == "rule")
        data = json.loads(curve.specification)["datasets"][rule["data"]["name"]]
        assert [point["step"] for point in data] == [4]
        assert field in data[0]


def test_baselines_lie_beside_the_metric(tmp_path):
    result = result_of(baselines={"chance": {"accuracy": 33.0}, "majority": {"accuracy": None}})
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(), result=result)
    metric = learning_curves(read_runs([folder]))[1]
    shown = [point for point in values(metric) if "baseline" in point]
    assert shown == [{"baseline": "chance", "metric": "accuracy", "value": 33.0}]


def test_the_main_metric_is_shown_first_and_others_can_be_chosen(tmp_path):
    scores = {"other": 1.0, "accuracy": 50.0}
    folder = write_run(
        tmp_path / "run", checkpoint=checkpoint_of(), entries=log_of([scores]), result=result_of()
    )
    (picked,) = json.loads(learning_curves(read_runs([folder]))[1].specification)["params"]
    assert picked["value"] == "accuracy"
    assert picked["bind"]["options"] == ["other", "accuracy"]


def test_metrics_of_several_tasks_have_their_tasks_name(tmp_path):
    folders = [
        write_run(tmp_path / name, checkpoint=checkpoint_of(config_of((task,))))
        for name, task in (("a", "one"), ("b", "two"))
    ]
    metric = learning_curves(read_runs(folders))[1]
    assert {point["metric"] for point in values(metric)} == {"one: accuracy", "two: accuracy"}


def test_without_scores_there_is_no_plot_of_them(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(), entries=log_of([{}, {}]))
    captions = [curve.caption.split()[0] for curve in learning_curves(read_runs([folder]))]
    assert captions == ["Training", "Loss", "Learning"]
