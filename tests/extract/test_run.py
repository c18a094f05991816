import json
import os
import subprocess
import sys
from fractions import Fraction

import pytest
from click.testing import CliRunner

import extract.run
from cache_schema.store import create_store, open_store
from extract.cli import extract_command
from extract.decode.process import DecoderProcess
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video

HEAVY = ("torch", "transformers", "av", "decord", "dask", "zarr", "scipy")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "video-feature-llm" / "encoders"


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(30))
    return tmp_path / "videos"


def command(*args):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, args)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


COMMAND = f"""
import sys
from extract.cli import extract_command
from extract.decode.process import DecoderProcess
try:
    extract_command(standalone_mode=False)
finally:
    print([name for name in {HEAVY} if name in sys.modules])
"""


def test_one_decoder_opens_the_videos_and_begins_to_decode_them_before_networks_load(
    videos, tmp_path, monkeypatch
):
    events = []
    start, begin, build = DecoderProcess._start, DecoderProcess.begin, extract.run.build_targets

    def note_start(self):
        events.append("decoder")
        return start(self)

    def note_begin(self, *args, **more):
        events.append("video")
        return begin(self, *args, **more)

    def note_build(*args):
        events.append("networks")
        return build(*args)

    run(videos, tmp_path / "before.zarr")  # its recipe is remembered
    monkeypatch.setattr(DecoderProcess, "_start", note_start)
    monkeypatch.setattr(DecoderProcess, "begin", note_begin)
    monkeypatch.setattr(extract.run, "build_targets", note_build)
    assert run(videos, tmp_path / "f.zarr").num_done == 1
    assert events == ["decoder", "video", "networks"]


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_a_run_with_nothing_to_do_imports_no_network_and_no_decoder(videos, tmp_path, suffix):
    out = tmp_path / f"f.{suffix}"
    args = (videos, "--out", out, "--encoder", "fake", "--device", "cpu")
    run(videos, out)
    again = command(*args)
    assert "0 videos extracted, 1 already there, 0 failed" in again
    assert again.splitlines()[-1] == "[]"


def test_a_dry_run_of_a_remembered_encoder_imports_no_network(videos, tmp_path):
    run(videos, tmp_path / "f.zarr")
    write_video(videos / "b.mp4", constant_pts(30))
    again = command(
        *(videos, "--out", tmp_path / "f.zarr", "--encoder", "fake", "--device", "cpu", "--dry-run")
    )
    assert again.splitlines()[-1] == "[]"


def falsify(cache):
    """Make the memory say what the network does not."""
    (memory,) = cache.iterdir()
    content = json.loads(memory.read_text())
    content["facts"]["recipe"]["weights_sha256"] = "0" * 64
    memory.write_text(json.dumps(content))


@pytest.mark.parametrize("has_new_video", [False, True])
def test_rows_carry_the_recipe_of_the_network_whatever_was_remembered(
    videos, tmp_path, cache, has_new_video
):
    run(videos, tmp_path / "f.zarr")
    (true,) = open_store(tmp_path / "f.zarr").streams.values()
    falsify(cache)
    if has_new_video:
        write_video(videos / "b.mp4", constant_pts(30))
    report = run(videos, tmp_path / "f.zarr")
    assert (report.streams, report.num_done) == (["fake"], int(has_new_video))
    (stream,) = open_store(tmp_path / "f.zarr").streams.values()
    assert stream.recipe == true.recipe
    assert true.recipe.encoder.weights_sha256 in next(cache.iterdir()).read_text(), "mended"


def meanwhile(monkeypatch, another_run):
    """Have another run do all its work between the planning and the writing of the next one."""

    def create(path):
        monkeypatch.setattr(extract.run, "create_store", create_store)
        another_run()
        return create_store(path)

    monkeypatch.setattr(extract.run, "create_store", create)


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_a_name_that_another_run_took_meanwhile_gives_way_to_the_next(
    videos, tmp_path, monkeypatch, suffix
):
    out = tmp_path / f"f.{suffix}"
    (videos / "bad.mp4").write_text("no video")
    meanwhile(monkeypatch, lambda: run(videos, out, fps=4))
    report = run(videos, out)
    streams = open_store(out).streams
    (name,) = report.streams
    assert (report.num_done, name) == (1, f"fake-{streams[name].recipe.fingerprint[:8]}")
    assert [s.recipe.sampling.fps for s in streams.values()] == [Fraction(4), Fraction(2)]
    assert [failure.streams for failure in report.failures] == [(name,)]
    again = run(videos, out)
    assert (again.streams, again.num_done, again.num_skipped) == ([name], 0, 1)


def test_a_stream_that_another_run_filled_under_the_next_name_is_found(
    videos, tmp_path, monkeypatch
):
    def others():
        run(videos, tmp_path / "f.zarr", fps=4)
        run(videos, tmp_path / "f.zarr")

    meanwhile(monkeypatch, others)
    report = run(videos, tmp_path / "f.zarr")
    assert len(open_store(tmp_path / "f.zarr").streams) == 2
    assert (report.num_done, report.num_skipped) == (0, 1)


def test_two_encoders_of_one_name_fill_two_streams(tmp_path, videos):
    from tests.extract.tiny_models import write_model

    folders = [write_model(tmp_path / place, "vit")[0] for place in ("one", "two")]
    config = json.loads((folders[1] / "preprocessor_config.json").read_text())
    config["image_mean"] = [0.0, 0.0, 0.0]
    (folders[1] / "preprocessor_config.json").write_text(json.dumps(config))
    assert folders[0].name == folders[1].name
    args = [str(videos), "--out", str(tmp_path / "f.zarr"), "--device", "cpu", "--json"]
    encoders = [text for folder in folders for text in ("--encoder", str(folder))]
    result = CliRunner().invoke(extract_command, [*args, *encoders], catch_exceptions=False)
    assert json.loads(result.stdout)["streams"] == sorted(open_store(tmp_path / "f.zarr").streams)
    assert len(open_store(tmp_path / "f.zarr").streams) == 2


def test_an_encoder_named_twice_fills_one_stream(videos, tmp_path):
    args = [str(videos), "--out", str(tmp_path / "f.zarr"), "--encoder", "fake", "--json"]
    for num_done in (1, 0):
        result = CliRunner().invoke(
            extract_command, [*args, "--encoder", "fake"], catch_exceptions=False
        )
        summary = json.loads(result.stdout)
        assert (summary["streams"], summary["videos_done"]) == (["fake"], num_done)
