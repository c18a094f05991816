import json

import pytest
from click.testing import CliRunner

from cache_schema.errors import ConfigError
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from cache_schema.testing import make_store
from extract.tools.cli import store_command
from tests.hub import LIBRARY_WARNS

pytestmark = LIBRARY_WARNS

ADDRESS = "hf://datasets/me/feats"


def vllm_store(*args):
    result = CliRunner().invoke(store_command, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def path(tmp_path):
    return make_store(tmp_path / "s.zarr", {"a": 100, "b/c": 60}).path


def test_a_dry_run_says_what_is_missing_and_sends_nothing(hub, path):
    said = vllm_store("push", path, ADDRESS, "--dry-run").output
    assert said == f"{ADDRESS}: 2 videos (160 rows) to bring from {path}, 0 were there.\n"
    assert hub.repositories == {}


def test_a_new_repository_is_private_and_its_licences_are_asked_for(hub, path):
    first = vllm_store("push", path, ADDRESS).output
    assert first.startswith(f"{ADDRESS}: 2 videos (160 rows) brought from {path}, 0 were there.\n")
    assert "private. Fill in the licences in its card (README.md)" in first
    second = vllm_store("push", path, ADDRESS).output
    assert second == f"{ADDRESS}: 0 videos (0 rows) brought from {path}, 2 were there.\n"


def test_pull_tells_programs_what_came(hub, path, tmp_path):
    vllm_store("push", path, ADDRESS)
    found = json.loads(vllm_store("pull", ADDRESS, tmp_path / "t.zarr", "--json").stdout)
    assert len(found.pop("commit")) == 40
    assert found == {
        "source": ADDRESS,
        "target": str(tmp_path / "t.zarr"),
        "num_videos": 2,
        "num_rows": 160,
        "num_held": 0,
        "is_new": False,
        "dry_run": False,
    }


def test_a_store_on_a_hub_is_looked_at_in_place(hub, path, tmp_path):
    vllm_store("push", path, ADDRESS)
    info = json.loads(vllm_store("info", ADDRESS, "--digest", "--json").stdout)
    assert info["digest"] == store_digest(open_store(path))
    verified = vllm_store("verify", ADDRESS)
    assert verified.output == "2 videos, 160 rows checked; 0 rows made again: 0 problems.\n"
    vllm_store("export", ADDRESS, tmp_path / "copy.h5")
    assert store_digest(open_store(tmp_path / "copy.h5")) == info["digest"]


def test_nothing_is_written_into_a_hub_but_by_push(hub, path):
    for command in (("export", path, ADDRESS), ("compact", ADDRESS)):
        with pytest.raises(ConfigError, match=f"vllm-store push FOLDER {ADDRESS}"):
            vllm_store(*command)


@pytest.mark.parametrize("words", [("push", "a.zarr", "b.zarr"), ("pull", "a.zarr", "b.zarr")])
def test_copies_within_this_machine_are_another_command(words):
    result = vllm_store(*words)
    assert result.exit_code == 2
    assert "is no address such as hf://datasets/USER/NAME" in result.output
    assert "vllm-store export copies" in result.output
