"""Variables of a launcher, whole or not."""

from types import SimpleNamespace

import pytest

from cache_schema.errors import ConfigError
from train.loop import parallel
from train.loop.launch import check_launch
from train.loop.parallel import make_accelerator

WHOLE = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        WHOLE,
        {**WHOLE, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"},
        {"LOCAL_RANK": "-1"},
    ],
)
def test_what_launchers_and_lone_processes_say_is_believed(environment):
    check_launch(environment)


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK=1 .* RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"),
        ({"RANK": "1"}, "WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"),
        *(
            ({key: value for key, value in WHOLE.items() if key != name}, f"but {name} is not set")
            for name in WHOLE
        ),
        ({**WHOLE, "MASTER_ADDR": ""}, "but MASTER_ADDR is not set"),
    ],
)
def test_what_is_missing_is_named(environment, missing):
    with pytest.raises(ConfigError, match=f"{missing}.*torchrun"):
        check_launch(environment)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"LOCAL_RANK": "y"}, "LOCAL_RANK is 'y' in the environment, not a whole number"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is '' in the environment, not a whole number"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http'"),
        ({"RANK": "8"}, "RANK=8, WORLD_SIZE=8, .*expected 0 <= LOCAL_RANK <= RANK < WORLD_SIZE"),
        ({"RANK": "0"}, "RANK=0, WORLD_SIZE=8, LOCAL_RANK=1 in the environment: expected"),
    ],
)
def test_what_is_wrong_is_named(wrong, said):
    with pytest.raises(ConfigError, match=said):
        check_launch({**WHOLE, **wrong})


def test_a_process_asks_before_it_looks_for_the_others(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"):
        make_accelerator("cpu")


def test_processes_that_have_not_met_do_not_train_each_alone(monkeypatch):
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    for met in (1, 8):
        made = SimpleNamespace(num_processes=met)
        monkeypatch.setattr(parallel, "Accelerator", lambda made=made, **options: made)
        if met == 8:
            assert make_accelerator("auto") is made
        else:
            with pytest.raises(ConfigError, match=r"WORLD_SIZE is 8 .* but 1 .* Add --device cpu"):
                make_accelerator("auto")
