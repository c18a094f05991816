"""``vllm-store compact`` and ``import``, killed."""

import shutil

import numpy as np
import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows
from tests.kill import killing

VIDEOS = [f"{number:02d}" for number in range(16)]


def write_session(path, videos, seed):
    """Add one part with these videos; a Zarr part is left unsealed by every third session."""
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (64,))
    for video in videos:
        add_video(stream, video, make_rows(20 + int(video), (64,), seed=seed))
    if path.suffix == ".h5" or seed % 3:
        writer.close()


def compact_command(out):
    return ["vllm-store", "compact", str(out), "--unsealed-older-than", "0"]


def import_command(features, out):
    timing = ["--fps", "15", "--window", "16", "--stride", "8"]
    return ["vllm-store", "import", str(features), str(out), "--stream", "i3d", *timing]


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_compaction_killed_at_random_instants_changes_nothing(
    server, tmp_path, suffix, record_property
):
    before = tmp_path / f"before{suffix}"
    for seed in range(6):
        write_session(before, [*VIDEOS[3 * seed : 3 * seed + 3], *VIDEOS[seed : seed + 2]], seed)
    digest = store_digest(open_store(before))
    out = before

    def start(number):
        nonlocal out
        out = tmp_path / f"{number}{suffix}"
        (shutil.copyfile if suffix == ".h5" else shutil.copytree)(before, out)
        return lambda **instant: server.run(compact_command(out), **instant)

    def check(outcome):
        assert store_digest(open_store(out)) == digest
        killing.check_equal(out, open_store(before))
        if not outcome.killed:
            assert outcome.exit_code == 0, outcome.stderr
            killing.check_one_commit_each(out)

    expected = killing.reference(start(-1), out)
    places = killing.kill_often(expected, start, check)
    record_property("killed at", dict(places))
    assert places.total() >= killing.KILLS


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    for video in VIDEOS:
        rows = np.random.default_rng(int(video)).standard_normal((20 + int(video), 64))
        np.save(folder / f"{video}.npy", rows.astype(np.float32))
    return folder


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_an_import_killed_at_random_instants_ends_with_the_same_rows(
    server, features, tmp_path, suffix, record_property
):
    known, out = set(), tmp_path / f"whole{suffix}"

    def start(number):
        nonlocal out
        out = tmp_path / f"{number}{suffix}"
        known.clear()
        return lambda **instant: server.run(import_command(features, out), **instant)

    expected = killing.reference(start(-1), out)

    def check(outcome):
        acknowledged = known | set(outcome.of("commit"))
        found = killing.visible(out)
        assert acknowledged <= found
        assert len(found - acknowledged) <= 1
        known.update(found)
        if found:
            killing.check_equal(out, expected.store)
        if not outcome.killed:
            assert outcome.exit_code == 0, outcome.stderr
            assert store_digest(open_store(out)) == expected.digest
            killing.check_one_commit_each(out)

    places = killing.kill_often(expected, start, check)
    record_property("killed at", dict(places))
    assert places.total() >= killing.KILLS
