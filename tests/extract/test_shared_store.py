"""A store that several people of a group fill, one after the other."""

import os

import pytest

from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video


@pytest.fixture
def group_umask():
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_all_that_a_run_leaves_may_be_written_by_the_group_if_the_umask_says_so(
    tmp_path, group_umask, suffix
):
    write_video(tmp_path / "videos" / "good.mp4", constant_pts(30))
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    out = tmp_path / "out"
    run(tmp_path / "videos", out / f"f.{suffix}")
    run(tmp_path / "videos", out / f"f.{suffix}", fps=5)  # an .h5 file is copied for it
    made = [out, *out.rglob("*")]
    assert {f"f.{suffix}{end}" for end in ("", ".failures.jsonl", ".extractions.jsonl")} <= {
        path.name for path in made
    }
    assert [path.name for path in made if path.stat().st_mode & 0o060 != 0o060] == []
