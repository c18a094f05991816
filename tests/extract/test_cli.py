import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cache_schema.errors import ConfigError, SourceError, StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from extract.cli import extract_command
from tests.extract.videos import constant_pts, write_video


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(30))
    write_video(tmp_path / "videos" / "b" / "c.mp4", constant_pts(45))
    return tmp_path / "videos"


def vllm_extract(*args):
    return CliRunner().invoke(
        extract_command, [*map(str, args), "--encoder", "fake"], catch_exceptions=True
    )


def test_the_first_run_extracts_and_the_second_has_nothing_to_do(videos):
    first = json.loads(vllm_extract("videos", "--out", "feats.zarr", "--json").stdout)
    assert (first["videos_done"], first["videos_skipped"], first["rows"]) == (2, 0, 5)
    second = json.loads(vllm_extract("videos", "--out", "feats.zarr", "--json").stdout)
    assert (second["videos_done"], second["videos_skipped"]) == (0, 2)


def test_a_new_store_is_named_by_what_it_is(videos):
    result = vllm_extract("videos", "--out", "feats")
    assert isinstance(result.exception, ConfigError)
    assert "Name it feats.zarr." in str(result.exception)
    assert not Path("feats").exists()
    Path("feats").mkdir()
    assert vllm_extract("videos", "--out", "feats").exit_code == 0
    assert json.loads(vllm_extract("videos", "--out", "feats", "--json").stdout)["videos_done"] == 0


def test_the_summary_says_where_the_store_is(videos):
    result = vllm_extract("videos", "--out", "feats.zarr")
    assert result.exit_code == 0
    assert "2 videos extracted" in result.output
    assert "Store: feats.zarr" in result.output


def test_a_bad_video_goes_to_the_ledger_and_the_exit_code_is_3(videos):
    (videos / "bad.mp4").write_text("no video")
    result = vllm_extract("videos", "--out", "feats.zarr")
    assert result.exit_code == 3
    assert "bad" in result.output
    (line,) = Path("feats.zarr.failures.jsonl").read_text().splitlines()
    assert json.loads(line)["video_id"] == "bad"
    assert open_store("feats.zarr").stream().video_ids == ["a", "b/c"]


def test_settings_come_from_the_file_then_set_then_flags(videos, tmp_path):
    (tmp_path / "pipeline.toml").write_text("[extract]\nfps = 1\nstore_dtype = 'float32'\n")
    vllm_extract("videos", "--out", "a.zarr")
    vllm_extract("videos", "--out", "b.zarr", "--set", "extract.fps=3")
    vllm_extract("videos", "--out", "c.zarr", "--set", "extract.fps=3", "--fps", "30000/1001")
    recipes = [open_store(f"{name}.zarr").stream().recipe for name in "abc"]
    assert [str(recipe.sampling.fps) for recipe in recipes] == ["1", "3", "30000/1001"]
    assert recipes[0].store_dtype == "float32"


def test_workers_make_the_same_store(videos):
    one = vllm_extract("videos", "--out", "one.zarr")
    two = vllm_extract("videos", "--out", "two.zarr", "--workers", "2", "--json")
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert json.loads(two.stdout)["videos_done"] == 2
    digests = [store_digest(open_store(name)) for name in ("one.zarr", "two.zarr")]
    assert digests[0] == digests[1]


def test_a_task_of_a_job_array_does_its_share_and_says_so(videos, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    share = vllm_extract("videos", "--out", "feats.zarr")
    assert "share 1/2 of the videos" in share.stderr
    assert open_store("feats.zarr").stream().video_ids == ["a"]
    everything = json.loads(
        vllm_extract("videos", "--out", "feats.zarr", "--shard", "0/1", "--json").stdout
    )
    assert (everything["videos_done"], everything["shard"]) == (1, "0/1")


def test_what_failed_before_is_tried_again_on_request_only(videos):
    (videos / "bad.mp4").write_text("no video")
    vllm_extract("videos", "--out", "feats.zarr")
    again = vllm_extract("videos", "--out", "feats.zarr")
    assert again.exit_code == 3
    assert "--retry-failed" in again.output
    retried = vllm_extract("videos", "--out", "feats.zarr", "--retry-failed", "--json")
    assert json.loads(retried.stdout)["videos_failed"] == 1
    plain = vllm_extract("videos", "--out", "feats.zarr", "--dry-run")
    assert "would not try bad again" in plain.output


def test_a_dry_run_touches_nothing(videos, tmp_path):
    result = vllm_extract("videos", "--out", "feats.zarr", "--dry-run")
    assert "would extract b/c" in result.output
    assert not (tmp_path / "feats.zarr").exists()


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (["nowhere"], SourceError, "nowhere: no such file or folder"),
        (["videos", "--set", "extract.fpss=3"], ConfigError, "unknown key 'fpss'. Did you mean"),
        (["videos", "--set", "extrct.fps=3"], ConfigError, "expected table.key=value"),
        (["videos", "--fps", "-1"], ConfigError, "must not be negative"),
        (["videos", "--encoder", "efficientnet_lite1"], ConfigError, "efficientnet_lite0"),
        (["videos", "--device", "cuda:7"], ConfigError, "cuda"),
        (["videos", "--workers", "0"], ConfigError, "workers is 0, must be at least 1"),
        (["videos", "--shard", "2/2"], ConfigError, "expected I/N with I from 0 to N - 1"),
        (["videos", "--set", "cluster.core=3"], ConfigError, "Did you mean 'cores'?"),
    ],
)
def test_wrong_input_is_one_clear_sentence(videos, tmp_path, args, error, message):
    result = vllm_extract(*args, "--out", "feats.zarr")
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "feats.zarr").exists()


def test_a_folder_that_is_no_store_is_left_alone(videos):
    result = vllm_extract("videos", "--out", "videos")
    assert isinstance(result.exception, StoreError)
    assert sorted(path.name for path in videos.rglob("*.mp4")) == ["a.mp4", "c.mp4"]


def test_help_needs_no_torch_and_no_decoder():
    code = (
        "import sys; from click.testing import CliRunner; from extract.cli import extract_command;"
        "assert CliRunner().invoke(extract_command, ['--help']).exit_code == 0;"
        "print([m for m in ('torch', 'transformers', 'av', 'zarr', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
