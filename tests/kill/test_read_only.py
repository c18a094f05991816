import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from tests.kill.test_killed_store_commands import (
    compact_command,
    features,
    import_command,
    write_session,
)

__all__ = ["features"]

SUFFIXES = [".zarr", ".h5"]


@pytest.fixture
def folder(tmp_path):
    """A folder whose content cannot be changed once ``lock`` was called."""
    folder = tmp_path / "folder"
    folder.mkdir()
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


def lock(folder):
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def check_refused(outcome, path):
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"Error: {path}")
    assert outcome.stderr.endswith(
        ": cannot be written (Permission denied). Make it writable, or choose another place.\n"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_store_nobody_may_write_to_is_named_and_left_as_it_is(server, folder, features, suffix):
    out = folder / f"s{suffix}"
    for seed in range(2):
        write_session(out, ["01", "02"], seed)
    before = store_digest(open_store(out))
    lock(folder)
    check_refused(server.run(import_command(features, out), is_root=False), out)
    check_refused(server.run(compact_command(out), is_root=False), out)
    assert store_digest(open_store(out)) == before


@pytest.mark.parametrize("name", ["s", "deeper/s"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_new_store_where_nobody_may_write_is_named(server, folder, features, suffix, name):
    lock(folder)
    out = folder / f"{name}{suffix}"
    check_refused(server.run(import_command(features, out), is_root=False), out)
    assert list(folder.iterdir()) == []
