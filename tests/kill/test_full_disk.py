"""A limit on the size of files stands in for a full disk: writes fail half-way, those of HDF5 too.

The system says EFBIG ("File too large") where a full disk says ENOSPC.
"""

import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from tests.kill import killing
from tests.kill.test_killed_store_commands import (
    VIDEOS,
    compact_command,
    features,
    import_command,
    write_session,
)

__all__ = ["features"]

SENTENCE = "cannot be written (File too large). What was committed is kept: make room, then run"
SUFFIXES = [".zarr", ".h5"]


def check_sentence(outcome, path):
    """One line on stderr that names the store and says what to do."""
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"Error: {path.with_suffix('')}")
    assert SENTENCE in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("file_bytes", [100, 3_000, 12_000, 20_000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_import_stops_with_a_sentence_and_goes_on_once_there_is_room(
    server, features, tmp_path, suffix, file_bytes
):
    out, whole = tmp_path / f"s{suffix}", tmp_path / f"whole{suffix}"
    if suffix == ".h5":
        file_bytes *= 8  # a new file with one stream has 28 kB
    expected = killing.reference(lambda: server.run(import_command(features, whole)), whole)
    outcome = server.run(import_command(features, out), file_bytes=file_bytes)
    check_sentence(outcome, out)
    known = killing.visible(out)
    assert set(outcome.of("commit")) <= known
    if known:
        killing.check_equal(out, expected.store)
    assert server.run(import_command(features, out)).exit_code == 0
    assert store_digest(open_store(out)) == expected.digest
    killing.check_one_commit_each(out)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_compaction_stops_with_a_sentence_and_leaves_no_copies(server, tmp_path, suffix):
    out = tmp_path / f"s{suffix}"
    for seed in range(3):
        write_session(out, VIDEOS[seed : seed + 3], seed)
    before = store_digest(open_store(out))
    names = {path.relative_to(out) for path in out.rglob("*")}
    check_sentence(server.run(compact_command(out), file_bytes=4_000), out)
    assert store_digest(open_store(out)) == before
    assert {path.relative_to(out) for path in out.rglob("*")} == names
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert server.run(compact_command(out)).exit_code == 0
    assert store_digest(open_store(out)) == before
    killing.check_one_commit_each(out)


@pytest.mark.parametrize(("suffix", "file_bytes"), [(".zarr", 10_000), (".h5", 40_000)])
def test_a_copy_stops_with_a_sentence_and_goes_on_once_there_is_room(
    server, tmp_path, suffix, file_bytes
):
    source, out = tmp_path / "from.zarr", tmp_path / f"s{suffix}"
    write_session(source, VIDEOS, 1)
    command = ["vllm-store", "export", str(source), str(out)]
    check_sentence(server.run(command, file_bytes=file_bytes), out)
    assert server.run(command).exit_code == 0
    assert store_digest(open_store(out)) == store_digest(open_store(source))
