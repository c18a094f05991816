from dataclasses import replace

import pytest

from cache_schema.cost import append_cost
from tests.train.pages.run_folders import (
    COST,
    checkpoint_of,
    config_of,
    log_of,
    result_of,
    step,
    write_log,
    write_run,
)
from tests.train.toy import learnable, make_store
from train.checkpoints.result import RowCounts
from train.pages.cost import cache_uses, training_cost
from train.pages.run_facts import read_runs

LATER = replace(COST, time="2026-02-01T00:00:00+00:00", num_videos=1, wall_seconds=20.0)


def finished(folder, *, epochs=2, read=1000, extraction=(COST,)):
    return write_run(
        folder,
        checkpoint=checkpoint_of(),
        entries=log_of([{"accuracy": 1.0}] * epochs),
        result=result_of(
            rows=RowCounts(read_per_epoch=read, in_stream=1000), extraction=extraction
        ),
    )


def test_training_is_added_up_from_the_log(tmp_path):
    (run,) = read_runs([finished(tmp_path / "run", epochs=3)])
    cost = training_cost(run)
    # Six steps of 0.5 s, 0.05 s of each waiting, 16 rows; three evaluations of 0.25 s.
    assert (cost.epochs, cost.steps, cost.rows, cost.step_seconds) == (3, 6, 96, 3.0)
    assert cost.waiting_share == pytest.approx(0.1)
    assert cost.rows_per_second == pytest.approx(32)
    assert cost.evaluation_seconds == 0.75
    assert cost.epoch_seconds == pytest.approx(1.25)
    assert (cost.start_up_seconds, cost.scoring_seconds, cost.num_processes) == (2.0, 1.0, 1)


def test_what_a_young_run_does_not_know_is_none(tmp_path):
    write_log(tmp_path, [step(1, 1, 2.0)])
    cost = training_cost(read_runs([tmp_path])[0])
    assert (cost.epoch_seconds, cost.evaluation_seconds, cost.device) == (None, None, None)


def test_runs_of_one_extraction_share_it(tmp_path):
    runs = read_runs(
        [
            finished(tmp_path / "a", epochs=4),
            finished(tmp_path / "b", epochs=6, extraction=(COST, LATER)),
        ]
    )
    (use,) = cache_uses(runs)
    assert use.runs == ["a", "b"]
    assert (use.extraction.wall_seconds, use.extraction.num_videos) == (120.0, 6)
    assert use.extraction.busy_seconds == {"decode": 120.0, "encode": 180.0}
    assert (use.payback.epochs, use.payback.times) == (10, pytest.approx(9))


def test_other_stores_pay_for_themselves(tmp_path):
    runs = read_runs([finished(tmp_path / "a"), finished(tmp_path / "b", extraction=(LATER,))])
    assert [use.runs for use in cache_uses(runs)] == [["a"], ["b"]]


def test_where_a_part_of_the_rows_is_read_extraction_is_scaled(tmp_path):
    (use,) = cache_uses(read_runs([finished(tmp_path / "a", epochs=5, read=250)]))
    assert use.payback.extraction_seconds == 25.0
    assert use.payback.saved_seconds == pytest.approx(100.0)
    assert use.to_json()["payback"]["times"] == pytest.approx(4)


def test_energy_is_known_if_all_of_it_is(tmp_path):
    measured = replace(COST, energy_joules=5.0)
    known = finished(tmp_path / "a", extraction=(measured, replace(LATER, energy_joules=2.0)))
    partly = finished(tmp_path / "b", extraction=(measured, LATER))
    for folder, joules in ((known, 7.0), (partly, None)):
        (use,) = cache_uses(read_runs([folder]))
        assert use.extraction.energy_joules == joules


def test_a_run_that_goes_on_asks_the_store_and_counts_no_epochs_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path / "f.zarr", {"a": learnable("a", 4)})
    for cost in (COST, replace(COST, streams=("other",))):
        append_cost(store.path, cost)
    config = replace(config_of(), features="f.zarr")
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(config))
    (use,) = cache_uses(read_runs([folder]))
    assert (use.extraction.num_videos, use.payback) == (5, None)


def test_without_costs_nothing_is_said(tmp_path):
    assert cache_uses(read_runs([finished(tmp_path / "a", extraction=())])) == []
