from pathlib import Path

import pytest

from cache_schema.errors import ConfigError
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from extract.sources.shards import Shard, parse_shard, shard_of, shard_of_array
from extract.sources.videos import VideoFile
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video


def videos(*sizes):
    return [
        VideoFile(id=f"v{number}", path=Path(f"v{number}.mp4"), size_bytes=size)
        for number, size in enumerate(sizes)
    ]


def ids(shard):
    return [video.id for video in shard]


def test_the_largest_goes_to_the_least_loaded_shard():
    # 9 -> 0, 8 -> 1, 7 -> 1 (8 < 9), 3 -> 0 (9 < 15), 2 -> 0 (12 < 15), 1 -> 0 (14 < 15)
    files = videos(1, 9, 2, 8, 3, 7)
    assert ids(shard_of(files, Shard(0, 2))) == ["v0", "v1", "v2", "v4"]
    assert ids(shard_of(files, Shard(1, 2))) == ["v3", "v5"]


@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_every_video_is_in_exactly_one_shard_whatever_the_order(count):
    files = videos(*[number * 37 % 11 for number in range(30)])
    shards = [shard_of(files, Shard(index, count)) for index in range(count)]
    assert sorted(name for shard in shards for name in ids(shard)) == sorted(ids(files))
    assert [shard_of(files[::-1], Shard(index, count)) for index in range(count)] == shards


@pytest.mark.parametrize("text", ["4/4", "0/0", "1", "-1/4", "a/b", "1/4/2", ""])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected I/N with I from 0 to N - 1"):
        parse_shard(text)
    assert str(parse_shard("3/4")) == "3/4"


def array(task, count, **others):
    named = {"ID": task, "COUNT": count, **others}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in named.items()}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "2"}, None),
        (array(2, 4, MIN=0, MAX=3), Shard(2, 4)),
        (array(3, 4, MIN=1, MAX=4), Shard(2, 4)),
        (array(6, 4, MIN=0, MAX=6, STEP=2), Shard(3, 4)),
        (array(5, 1, MIN=5, MAX=5), Shard(0, 1)),
        (array("", ""), None),
        (array("", 4), None),
        (array(" ", "", MIN="", STEP=""), None),
        (array(2, 4, MIN="", STEP=""), Shard(2, 4)),
    ],
)
def test_a_task_of_an_array_knows_its_share(environment, shard):
    assert shard_of_array(environment) == shard


@pytest.mark.parametrize("environment", [array(7, 3, MIN=1), array(3, 2, MIN=0, STEP=2)])
def test_an_array_with_uneven_numbers_is_refused(environment):
    with pytest.raises(ConfigError, match="its share cannot be told"):
        shard_of_array(environment)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (array("two", 4), "SLURM_ARRAY_TASK_ID is 'two', expected a whole number"),
        (array(2, "4%2"), "SLURM_ARRAY_TASK_COUNT is '4%2'.*unset SLURM_ARRAY_TASK_COUNT"),
        (array(2, 4, MIN="0x0"), "SLURM_ARRAY_TASK_MIN is '0x0'"),
        (array(2, 4, STEP=-1), "SLURM_ARRAY_TASK_STEP is '-1'"),
    ],
)
def test_what_is_no_number_of_an_array_is_named(environment, said):
    with pytest.raises(ConfigError, match=said):
        shard_of_array(environment)


def test_an_hdf5_store_takes_no_shards_and_names_the_way_out(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(15))
    with pytest.raises(ConfigError, match=r"takes one writer at a time.*--out .*f\.zarr"):
        run(tmp_path / "videos", tmp_path / "f.h5", shard=Shard(0, 2))
    assert run(tmp_path / "videos", tmp_path / "f.h5", shard=Shard(0, 1)).num_done == 1


def test_shards_in_any_order_make_the_store_of_one_run(tmp_path):
    for number in range(4):
        write_video(tmp_path / "videos" / f"{number}.mp4", constant_pts(10 + 9 * number))
    (tmp_path / "videos" / "copy.mp4").write_bytes((tmp_path / "videos" / "0.mp4").read_bytes())
    run(tmp_path / "videos", tmp_path / "whole.zarr")
    reports = [run(tmp_path / "videos", tmp_path / "f.zarr", shard=Shard(i, 2)) for i in (1, 0, 0)]
    assert sum(report.num_done for report in reports) == 5
    assert reports[2].num_done == 0
    assert reports[0].summary()["shard"] == "1/2"
    digests = [store_digest(open_store(tmp_path / name)) for name in ("whole.zarr", "f.zarr")]
    assert digests[0] == digests[1]
