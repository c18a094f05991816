"""Random kills seldom meet what takes microseconds: here a process dies at its own calls."""

import os
import shutil

import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from tests.kill import killing
from tests.kill.test_killed_store_commands import (
    compact_command,
    features,
    import_command,
    write_session,
)

__all__ = ["features"]

EVERY = 5
"""Take every fifth call; the offset differs between tests."""


@pytest.fixture(scope="module")
def three_features(features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    for name in ("00.npy", "07.npy", "15.npy"):
        shutil.copyfile(features / name, folder / name)
    return folder


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_an_import_killed_in_any_call_goes_on(server, three_features, tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    expected = killing.reference(lambda: server.run(import_command(three_features, whole)), whole)
    last = 0
    while True:
        out = tmp_path / f"{last}{suffix}"
        outcome = server.run(import_command(three_features, out), calls=last)
        known = killing.visible(out)
        assert set(outcome.of("commit")) <= known
        if known:
            killing.check_equal(out, expected.store)
        if not outcome.killed:
            break
        again = server.run(import_command(three_features, out))
        assert again.exit_code == 0, again.stderr
        assert store_digest(open_store(out)) == expected.digest
        killing.check_one_commit_each(out)
        last += EVERY
    assert last > 20


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_compaction_killed_in_any_call_changes_nothing(server, tmp_path, suffix):
    before = tmp_path / f"before{suffix}"
    for seed, videos in enumerate((["01", "02"], ["03", "01"])):
        write_session(before, videos, seed)
    digest = store_digest(open_store(before))
    last = 2
    while True:
        out = tmp_path / f"{last}{suffix}"
        (shutil.copyfile if suffix == ".h5" else shutil.copytree)(before, out)
        outcome = server.run(compact_command(out), calls=last)
        assert store_digest(open_store(out)) == digest
        killing.check_equal(out, open_store(before))
        if not outcome.killed:
            break
        assert server.run(compact_command(out)).exit_code == 0
        assert store_digest(open_store(out)) == digest
        killing.check_one_commit_each(out)
        last += EVERY
    assert last > 15


def damage(out):
    """Take away all that repair can put back; return what the files held."""
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    first, second = sorted(path.parent for path in files if path.name == "commits.copy")
    for path in files:
        if path.name == "zarr.json" and second not in path.parents:
            path.unlink()
    (first / "commits.log").unlink()
    (second / "commits.copy").unlink()
    (shard,) = second.glob("time/c/0/0")
    os.truncate(shard, shard.stat().st_size - 5)
    return files


def test_a_repair_killed_in_any_call_goes_on(server, tmp_path):
    before = tmp_path / "before.zarr"
    for seed, videos in enumerate((["01", "02"], ["03"])):
        write_session(before, videos, seed + 1)
    last = 0
    while True:
        out = tmp_path / f"{last}.zarr"
        shutil.copytree(before, out)
        whole = damage(out)
        command = ["vllm-store", "repair", str(out), "--unsealed-older-than", "0"]
        outcome = server.run(command, calls=last)
        again = server.run(command)
        assert again.exit_code == 0, again.stderr
        killing.check_equal(out, open_store(before))
        assert killing.visible(out) == killing.visible(before)
        assert {path: path.read_bytes() for path in whole} == whole
        if not outcome.killed:
            break
        last += EVERY - 2
    assert last > 15
