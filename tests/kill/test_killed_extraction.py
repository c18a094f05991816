import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from tests.extract.videos import constant_pts, write_video
from tests.kill import killing

NUM_FRAMES = (3, 40, 17, 64, 9, 90, 28, 51)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number, count in enumerate(NUM_FRAMES):
        path = root / "clips" / f"{number}.mp4"
        write_video(path, constant_pts(count), options={"preset": "ultrafast"})
    return root


def command(folder, out, encoders=("fake", "clip_fake")):
    options = ["--fps", "0", "--pooling", "grid", "--device", "cpu"]
    for encoder in encoders:
        options += ["--encoder", encoder]
    return ["vllm-extract", str(folder), "--out", str(out), *options]


class Rounds:
    """One store after the other, and what is known to be in the present one."""

    def __init__(self, server, folder, tmp_path, suffix):
        self.server, self.folder, self.tmp_path, self.suffix = server, folder, tmp_path, suffix
        whole = tmp_path / f"whole{suffix}"
        self.expected = killing.reference(lambda: server.run(command(folder, whole)), whole)
        self.everything = killing.visible(whole)

    def start(self, number):
        self.out = self.tmp_path / f"{number}{self.suffix}"
        self.known = set()
        return lambda **instant: self.server.run(command(self.folder, self.out), **instant)

    def check(self, outcome):
        """What was committed is there, at most one more; what was there is not done again."""
        planned = outcome.of("plan")
        assert len(planned) == len(set(planned))
        assert set(planned) in (set(), self.everything - self.known)
        acknowledged = self.known | set(outcome.of("commit"))
        self.known = killing.visible(self.out)
        assert acknowledged <= self.known
        assert len(self.known - acknowledged) <= 1
        if self.known:
            killing.check_equal(self.out, self.expected.store)
        if not outcome.killed:
            assert outcome.exit_code == 0, outcome.stderr
            assert store_digest(open_store(self.out)) == self.expected.digest
            killing.check_one_commit_each(self.out)


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_an_extraction_killed_at_random_instants_ends_with_the_same_rows(
    server, folder, tmp_path, suffix, record_property
):
    rounds = Rounds(server, folder, tmp_path, suffix)
    places = killing.kill_often(rounds.expected, rounds.start, rounds.check)
    record_property("killed at", dict(places))
    assert places.total() >= killing.KILLS
