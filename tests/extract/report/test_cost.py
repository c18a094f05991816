import pytest

from cache_schema.cost import costs_path, read_costs
from cache_schema.energy import EnergyMeter
from cache_schema.store import open_store
from extract.report.cost import cost_written
from extract.report.run_report import RunReport
from extract.sources.shards import Shard
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(60))
    write_video(tmp_path / "videos" / "b.mp4", constant_pts(30))
    return tmp_path / "videos"


def test_a_run_notes_what_it_cost(videos, tmp_path):
    store = tmp_path / "f.zarr"
    report = run(videos, store)
    (cost,) = read_costs(store)
    assert (cost.streams, cost.num_videos, cost.num_rows) == (("fake",), 2, report.num_rows)
    assert cost.num_rows == open_store(store).stream().num_rows
    assert cost.video_seconds == pytest.approx(3.0)
    assert set(cost.busy_seconds) == {"decode", "encode", "write"}
    assert 0 < sum(cost.busy_seconds.values()) <= 3 * cost.wall_seconds
    assert (cost.num_workers, cost.device) == (1, "cpu")


def test_a_run_that_did_nothing_notes_nothing(videos, tmp_path):
    store = tmp_path / "f.zarr"
    run(videos, store)
    run(videos, store)
    assert len(read_costs(store)) == 1
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.mp4").write_text("no video")
    run(tmp_path / "bad", tmp_path / "g.zarr")
    assert not costs_path(tmp_path / "g.zarr").exists()


def test_every_task_of_a_job_array_notes_its_own(videos, tmp_path):
    store = tmp_path / "f.zarr"
    for index in range(2):
        run(videos, store, shard=Shard(index=index, count=2))
    costs = read_costs(store)
    assert sum(cost.num_rows for cost in costs) == open_store(store).stream().num_rows
    assert sum(cost.num_videos for cost in costs) == 2


def test_workers_are_noted_together(videos, tmp_path):
    run(videos, tmp_path / "f.zarr", workers=2)
    (cost,) = read_costs(tmp_path / "f.zarr")
    assert (cost.num_workers, cost.device, cost.num_videos) == (2, "cpu", 2)


def test_an_interrupted_run_notes_what_it_committed(tmp_path):
    report = RunReport(store=str(tmp_path / "f.zarr"), streams=["x"])
    with pytest.raises(KeyboardInterrupt):
        be_interrupted(report)
    assert [cost.num_rows for cost in read_costs(tmp_path / "f.zarr")] == [7]


def be_interrupted(report):
    with cost_written(report, EnergyMeter(None), tell=pytest.fail):
        report.num_rows = 7
        raise KeyboardInterrupt


def test_rows_are_kept_where_their_cost_cannot_be_noted(videos, tmp_path):
    store = tmp_path / "f.zarr"
    costs_path(store).mkdir()
    assert run(videos, store).exit_code == 0
    told = []
    report = RunReport(store=str(store), streams=["x"], num_rows=1)
    with cost_written(report, EnergyMeter(None), tell=told.append):
        pass
    assert "cannot be written" in told[0]
