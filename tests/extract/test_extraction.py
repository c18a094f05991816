import multiprocessing
import subprocess
import sys
from dataclasses import fields, replace
from fractions import Fraction

import pytest

from cache_schema import ConfigError, PipelineError, RecipeMismatchError, SourceError, open_store
from cache_schema.proof.digest import store_digest
from extract import extract, extract_like
from extract.config import ExtractConfig, ExtractSettings
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video

FAKE = {"encoders": "fake", "device": "cpu"}


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(60))
    write_video(tmp_path / "videos" / "b" / "c.mp4", constant_pts(45))
    return tmp_path / "videos"


def test_a_call_makes_the_store_that_the_command_makes(videos, tmp_path, capfd):
    report = extract(videos, tmp_path / "f.zarr", **FAKE)
    assert (report.num_done, report.num_skipped, report.num_rows) == (2, 0, 7)
    assert capfd.readouterr() == ("", "")
    run(videos, tmp_path / "command.zarr")
    stores = [open_store(tmp_path / name) for name in ("f.zarr", "command.zarr")]
    assert store_digest(stores[0]) == store_digest(stores[1])


def test_what_is_there_is_skipped(videos, tmp_path):
    extract(videos / "a.mp4", tmp_path / "f.h5", **FAKE)
    report = extract([str(videos)], tmp_path / "f.h5", **FAKE)
    assert (report.num_done, report.num_skipped) == (1, 1)


def test_a_bad_video_is_in_the_report_with_its_reason_and_no_exception(videos, tmp_path):
    (videos / "bad.mp4").write_text("no video")
    first = extract(videos, tmp_path / "f.zarr", **FAKE)
    (failure,) = first.failures
    assert failure.video_id == "bad"
    assert failure.error
    second = extract(videos, tmp_path / "f.zarr", **FAKE)
    assert (second.failures, second.failed_before) == ([], [failure])
    third = extract(videos, tmp_path / "f.zarr", retry_failed=True, **FAKE)
    assert [again.video_id for again in third.failures] == ["bad"]


def test_progress_is_told_as_it_comes(videos, tmp_path):
    told = []
    extract(videos, tmp_path / "f.zarr", fps=4, progress=told.append, **FAKE)
    assert [one.total_seconds for one in told] == [3.5] * len(told)
    done = [one.done_seconds for one in told]
    assert done == sorted(done)
    assert done[-1] == 3.5


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(4, "4"), (0.1, "1/10"), ("30000/1001", "30000/1001"), (Fraction(1, 3), "1/3")],
)
def test_a_rate_is_given_as_any_number(videos, tmp_path, fps, expected):
    extract(videos / "a.mp4", tmp_path / "f.zarr", fps=fps, **FAKE)
    assert open_store(tmp_path / "f.zarr").stream().recipe.sampling.fps == Fraction(expected)


def test_only_the_settings_file_that_is_named_is_read(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text("[extract]\nfps = 1\nstore_dtype = 'float32'\n")
    extract(videos, "plain.zarr", **FAKE)
    extract(videos, "named.zarr", config="pipeline.toml", fps=3, **FAKE)
    plain, named = (open_store(f"{name}.zarr").stream().recipe for name in ("plain", "named"))
    assert (plain.sampling.fps, plain.store_dtype) == (2, "float16")
    assert (named.sampling.fps, named.store_dtype) == (3, "float32")


def test_every_setting_is_a_keyword():
    assert {one.name for one in fields(ExtractConfig)} == ExtractSettings.__optional_keys__


@pytest.mark.parametrize(
    ("videos_given", "settings", "error", "message"),
    [
        ("nowhere", {}, SourceError, "nowhere: no such file or folder"),
        ("", {"fpss": 3}, ConfigError, "unknown key 'fpss'. Did you mean 'fps'"),
        ("", {"fps": "fast"}, ConfigError, "fps"),
        ("", {"workers": 0}, ConfigError, "workers is 0, must be at least 1"),
        ("", {"encoders": []}, ConfigError, "encoders is empty"),
        ("", {"encoders": "efficientnet"}, ConfigError, "Did you mean 'efficientnet_lite0'"),
        ("", {"config": "gone.toml"}, ConfigError, "gone.toml: cannot be read"),
    ],
)
def test_wrong_input_is_a_pipeline_error(videos, tmp_path, videos_given, settings, error, message):
    with pytest.raises(PipelineError, match=message) as raised:
        extract(str(videos / videos_given), tmp_path / "f.zarr", **FAKE | settings)
    assert isinstance(raised.value, error)


def test_a_store_made_another_way_gets_another_stream(videos, tmp_path):
    extract(videos, tmp_path / "f.zarr", **FAKE)
    report = extract(videos, tmp_path / "f.zarr", fps=4, **FAKE)
    store = open_store(tmp_path / "f.zarr")
    assert report.streams == [name for name in store.streams if name != "fake"]
    with pytest.raises(RecipeMismatchError, match=r"sampling\.fps = 4, not 2"):
        store.require(report.streams[0], store.stream("fake").recipe)


def recipe_of(store):
    return open_store(store).stream().recipe


def test_rows_are_made_again_by_a_recipe(videos, tmp_path):
    extract(videos, tmp_path / "f.zarr", fps=3, store_dtype="float32", **FAKE)
    report = extract_like(recipe_of(tmp_path / "f.zarr"), videos, tmp_path / "g.zarr", device="cpu")
    assert (report.num_done, report.streams) == (2, ["fake"])
    stores = [open_store(tmp_path / name) for name in ("f.zarr", "g.zarr")]
    assert store_digest(stores[0]) == store_digest(stores[1])
    again = extract_like(recipe_of(tmp_path / "f.zarr"), videos, tmp_path / "g.zarr", device="cpu")
    assert (again.num_done, again.num_skipped, again.num_rows) == (0, 2, 0)


def test_another_decoder_s_version_makes_a_stream_of_its_own(videos, tmp_path):
    extract(videos, tmp_path / "f.zarr", **FAKE)
    here = recipe_of(tmp_path / "f.zarr")
    older = replace(here, decoder=replace(here.decoder, version="older"))
    extract_like(older, str(videos / "a.mp4"), tmp_path / "g.zarr", device="cpu")
    assert recipe_of(tmp_path / "g.zarr") == here


def test_rows_that_would_differ_are_not_made(videos, tmp_path):
    extract(videos, tmp_path / "f.zarr", **FAKE)
    here = recipe_of(tmp_path / "f.zarr")
    other = replace(here, encoder=replace(here.encoder, weights_sha256="0" * 64))
    with pytest.raises(
        RecipeMismatchError, match=r"cannot be made again here: encoder\.weights_sha256 = 0000"
    ):
        extract_like(other, videos, tmp_path / "g.zarr", device="cpu")
    assert not (tmp_path / "g.zarr").exists()


def test_an_encoder_that_is_not_here_is_named_with_what_to_do(videos, tmp_path):
    extract(videos, tmp_path / "f.zarr", **FAKE)
    here = recipe_of(tmp_path / "f.zarr")
    moved = replace(here, encoder=replace(here.encoder, id="my-finetuned"))
    with pytest.raises(ConfigError, match=r"with encoder 'my-finetuned' .* with --encoder\.$"):
        extract_like(moved, videos, tmp_path / "g.zarr", device="cpu")
    with pytest.raises(ConfigError, match=r"encoder 'elsewhere': neither .*:Name\.$"):
        extract_like(moved, videos, tmp_path / "g.zarr", encoder="elsewhere", device="cpu")


@pytest.mark.parametrize("workers", [0, -1])
def test_settings_of_the_call_are_checked_too(videos, tmp_path, workers):
    extract(videos, tmp_path / "f.zarr", **FAKE)
    with pytest.raises(ConfigError, match=f"workers is {workers}, must be at least 1"):
        extract_like(recipe_of(tmp_path / "f.zarr"), videos, tmp_path / "g.zarr", workers=workers)


def test_a_script_without_a_guard_is_told_to_have_one(videos, tmp_path):
    (tmp_path / "script.py").write_text(
        "from extract import extract\n"
        f"extract({str(videos)!r}, 'f.zarr', encoders='fake', device='cpu', workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "put its work under if __name__" in done.stderr  # a worker, which imports the script
    *_, last = done.stderr.splitlines()
    assert "PipelineError: this machine: workers did not start" in last


def _ask_for_workers(videos, pipe):
    try:
        extract(videos, "f.zarr", workers=2, **FAKE)
    except ConfigError as error:
        pipe.send(str(error))


def test_a_process_that_may_start_none_is_told_so(videos):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_ask_for_workers, args=(videos, theirs), daemon=True)
    child.start()
    assert ours.poll(60)
    assert "outside of the pool" in ours.recv()
    child.join()
