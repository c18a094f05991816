"""``vllm-extract`` where the disk gets full or nobody may write: one sentence, nothing lost.

``test_full_disk.py`` says what stands in for a full disk.
"""

import shutil

import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import open_store
from extract.report.ledger import Ledger
from tests.extract.videos import constant_pts, write_video
from tests.kill import killing
from tests.kill.test_full_disk import check_sentence
from tests.kill.test_killed_extraction import command
from tests.kill.test_read_only import check_refused, lock
from tests.kill.test_read_only import folder as closed

__all__ = ["closed"]

SUFFIXES = [".zarr", ".h5"]
NUM_FRAMES = (60, 58, 47, 46, 20, 9)
"""Zarr parts have one chunk of 64 rows (32 kB) each, but that of the third and fourth has two."""
MORE_BYTES = 40_000
"""Room for one of the long videos."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number, count in enumerate(NUM_FRAMES):
        write_video(root / f"{number}.mp4", constant_pts(count), options={"preset": "ultrafast"})
    return root


@pytest.fixture(scope="module")
def expected(server, videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected") / "s.zarr"
    return killing.reference(lambda: server.run(command(videos, out)), out)


@pytest.fixture(scope="module")
def fake_digest(server, videos, tmp_path_factory):
    """The digest of a store with one stream."""
    out = tmp_path_factory.mktemp("fake") / "s.zarr"
    return killing.reference(lambda: server.run(command(videos, out, ["fake"])), out).digest


@pytest.mark.parametrize(
    ("suffix", "file_bytes", "num_kept"),
    [
        (".zarr", 100, 0),
        (".zarr", 20_000, 0),
        (".zarr", MORE_BYTES, 3),
        (".h5", 100, 0),
        (".h5", 100_000, 0),
        (".h5", 250_000, 1),
    ],
)
def test_an_extraction_stops_with_a_sentence_and_goes_on_once_there_is_room(
    server, videos, expected, tmp_path, suffix, file_bytes, num_kept
):
    out = tmp_path / f"s{suffix}"
    outcome = server.run(command(videos, out), file_bytes=file_bytes)
    check_sentence(outcome, out)
    known = killing.visible(out)
    assert set(outcome.of("commit")) <= known
    assert len(known) >= num_kept
    if known:
        killing.check_equal(out, expected.store)
    assert not Ledger(out).path.exists(), "the video is not to blame"
    again = server.run(command(videos, out))
    assert again.exit_code == 0, again.stderr
    assert store_digest(open_store(out)) == expected.digest
    killing.check_one_commit_each(out)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_workers_stop_with_one_sentence_and_one_process_goes_on_once_there_is_room(
    server, videos, expected, fake_digest, tmp_path, suffix
):
    out = tmp_path / f"s{suffix}"
    assert server.run(command(videos / "0.mp4", out, ["fake"])).exit_code == 0
    used = out.stat().st_size if suffix == ".h5" else 0  # each Zarr worker has files of its own
    alone = command(videos, out, ["fake"])
    outcome = server.run([*alone, "--workers", "2"], file_bytes=used + MORE_BYTES)
    check_sentence(outcome, out)
    assert {("fake", "0")} < killing.visible(out) < {("fake", str(n)) for n in range(6)}
    killing.check_equal(out, expected.store)
    assert not Ledger(out).path.exists(), "no video is to blame"
    assert server.run(alone).exit_code == 0
    assert store_digest(open_store(out)) == fake_digest
    assert verify_store(out).problems == []


def test_a_ledger_without_room_is_named_and_nothing_of_it_is_taken_for_an_entry(
    server, videos, expected, tmp_path
):
    folder, out = tmp_path / "videos", tmp_path / "s.zarr"
    shutil.copytree(videos, folder)
    assert server.run(command(folder, out)).exit_code == 0
    (folder / "bad.mp4").write_bytes(b"no video")
    outcome = server.run(command(folder, out), file_bytes=100)
    check_sentence(outcome, Ledger(out).path)
    assert Ledger(out).path.stat().st_size == 100, "half an entry"
    assert store_digest(open_store(out)) == expected.digest
    assert server.run(command(folder, out)).exit_code == 3
    assert {video for video, _ in Ledger(out).latest()} == {"bad"}


@pytest.mark.parametrize("name", ["s", "deeper/s"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_new_store_where_nobody_may_write_is_named(server, videos, closed, suffix, name):
    lock(closed)
    out = closed / f"{name}{suffix}"
    check_refused(server.run(command(videos, out), is_root=False), out)
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_store_nobody_may_write_to_is_named_and_left_as_it_is(
    server, videos, expected, closed, suffix
):
    out = closed / f"s{suffix}"
    assert server.run(command(videos / "0.mp4", out)).exit_code == 0
    names = sorted(closed.rglob("*"))
    lock(closed)
    check_refused(server.run(command(videos, out), is_root=False), out)
    assert sorted(closed.rglob("*")) == names
    killing.check_equal(out, expected.store)
