import json
from dataclasses import replace

from cache_schema.cost import ExtractionCost, append_cost, costs_path, read_costs

COST = ExtractionCost(
    time="2025-03-01T12:00:00+00:00",
    streams=("clip", "eff"),
    num_videos=3,
    num_rows=40,
    video_seconds=60.5,
    wall_seconds=12.25,
    busy_seconds={"decode": 9.0, "encode": 11.5},
    num_workers=2,
    device="cpu",
    energy_joules=None,
)


def test_a_cost_is_one_json_line_beside_the_store(tmp_path):
    append_cost(tmp_path / "f.zarr", COST)
    (line,) = (tmp_path / "f.zarr.extractions.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "time": "2025-03-01T12:00:00+00:00",
        "streams": ["clip", "eff"],
        "num_videos": 3,
        "num_rows": 40,
        "video_seconds": 60.5,
        "wall_seconds": 12.25,
        "busy_seconds": {"decode": 9.0, "encode": 11.5},
        "num_workers": 2,
        "device": "cpu",
        "energy_joules": None,
    }


def test_costs_come_back_in_the_order_of_the_runs(tmp_path):
    assert read_costs(tmp_path / "f.zarr") == []
    second = replace(COST, energy_joules=1234.5)
    append_cost(tmp_path / "f.zarr", COST)
    append_cost(tmp_path / "f.zarr", second)
    assert read_costs(tmp_path / "f.zarr") == [COST, second]


def test_a_torn_line_costs_that_line_only(tmp_path):
    store = tmp_path / "f.zarr"
    append_cost(store, COST)
    with costs_path(store).open("a") as file:
        file.write('{"time": "2025-03-')
    assert read_costs(store) == [COST]
    append_cost(store, COST)
    assert read_costs(store) == [COST, COST]
