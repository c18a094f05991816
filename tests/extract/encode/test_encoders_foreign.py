import json
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cache_schema.errors import ConfigError, PipelineError, StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store, stream_names
from cache_schema.testing import make_recipe, make_store
from extract import load_encoder as frame_encoder
from extract.cli import extract_command
from extract.encode.encoders import EncoderOptions, absolute_name, is_here, load_encoder
from extract.encode.encoders.foreign import find_foreign
from extract.tools.recompute import recompute_rows
from tests.extract.videos import constant_pts, write_video

CPU = EncoderOptions(device="cpu")

MINE = """
import torch
from extract import EncoderRecipe, PreprocessRecipe, choose_device, single_frame, weights_sha256


class Brightness:
    frames_per_window = 1
    row_shape = (2,)
    preprocess = PreprocessRecipe(
        resize="exact", size=(8, 8), crop=None, interpolation="bilinear",
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )

    def __init__(self, options):
        self.device = choose_device(options.device)
        self.recipe = EncoderRecipe(
            id="", weights_sha256=weights_sha256({}), compute_dtype="float32", pooling="mean"
        )

    def encode(self, pixels_BFCHW):
        pixels_BN = single_frame(pixels_BFCHW).flatten(1)
        return torch.stack([pixels_BN.mean(1), pixels_BN.std(1)], dim=1)
"""
NAME = "mine.py:Brightness"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder, the current one, with an encoder in a file and two videos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(60))
    write_video(tmp_path / "videos" / "b.mp4", constant_pts(30))
    return tmp_path / "mine.py"


def edit(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def install(folder, monkeypatch, *, distribution="my-encoders", version="1.0", name="mine"):
    """Put what pip would install on the module search path."""
    site = folder / f"site of {distribution}"
    module = f"{distribution.replace('-', '_')}_module"
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    (info / "entry_points.txt").write_text(
        f"[video_feature_llm.encoders]\n{name} = {module}:Brightness\n"
    )
    (site / f"{module}.py").write_text(MINE)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, module, raising=False)
    return site / f"{module}.py"


def vllm_extract(*args):
    return CliRunner().invoke(extract_command, ["videos", *map(str, args), "--device", "cpu"])


def test_a_file_s_encoder_is_called_by_the_bytes_of_the_file(mine):
    encoder = load_encoder("./mine.py:Brightness", CPU)
    digest = sha256(MINE.encode()).hexdigest()
    assert encoder.recipe.id == f"mine.py:Brightness@sha256:{digest}"
    rows = encoder.encode(torch.ones(3, 1, 3, 8, 8))
    assert rows.tolist() == [[1.0, 0.0]] * 3


def test_rows_of_a_file_s_encoder_go_to_a_stream_named_after_it(mine):
    result = vllm_extract("--encoder", "./mine.py:Brightness", "--out", "f.zarr", "--json")
    assert json.loads(result.stdout)["streams"] == ["mine.py-Brightness"]
    assert open_store("f.zarr").stream().num_rows == 6


def test_a_file_s_encoder_comes_from_pipeline_toml_too(mine):
    Path("pipeline.toml").write_text(f"[extract]\nencoders = ['fake', '{NAME}']\n")
    vllm_extract("--out", "f.zarr")
    assert list(open_store("f.zarr").streams) == ["fake", "mine.py-Brightness"]


def test_a_video_encoder_in_a_file_gets_windows_of_its_length(mine):
    edit(mine, "frames_per_window = 1", "frames_per_window = 3")
    edit(mine, "single_frame(pixels_BFCHW).flatten(1)", "pixels_BFCHW.flatten(1)")
    rows = frame_encoder(NAME, device="cpu").encode(np.full((7, 9, 9, 3), 255, np.uint8))
    assert rows.values.tolist() == [[1.0, 0.0]] * 3
    assert rows.times_R2.tolist() == [[0.0, 1.5], [1.5, 3.0], [3.0, 3.5]]


def test_an_edited_file_is_another_stream(mine):
    vllm_extract("--encoder", NAME, "--out", "f.zarr")
    edit(mine, "pixels_BN.std(1)", "pixels_BN.amax(1)")
    vllm_extract("--encoder", NAME, "--out", "f.zarr")
    first, second = open_store("f.zarr").streams.values()
    assert second.name == f"mine.py-Brightness-{second.recipe.fingerprint[:8]}"
    assert first.read("a").values[:, 1].tolist() != second.read("a").values[:, 1].tolist()


def test_workers_load_a_file_s_encoder_and_make_the_same_store(mine):
    vllm_extract("--encoder", NAME, "--out", "one.zarr")
    two = vllm_extract("--encoder", NAME, "--out", "two.zarr", "--workers", "2", "--json")
    assert json.loads(two.stdout)["videos_done"] == 2
    one, two = (store_digest(open_store(name)) for name in ("one.zarr", "two.zarr"))
    assert one == two


def test_workers_are_told_an_absolute_path(mine):
    assert absolute_name("./mine.py:Brightness") == f"{mine}:Brightness"
    assert absolute_name("openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    (mine.parent / "models" / "tiny").mkdir(parents=True)
    assert absolute_name("models/tiny") == f"{mine.parent}/models/tiny"
    (mine.parent / "fake").mkdir()  # a built-in name stays one beside a folder
    assert absolute_name("fake") == "fake"


def test_what_is_here_is_told_without_loading_it(mine, tmp_path, monkeypatch):
    (mine.parent / "models" / "tiny").mkdir(parents=True)
    install(tmp_path / "site", monkeypatch)
    for name in ("fake", "mine", "./mine.py:Anything", "models/tiny", "owner/on-a-hub"):
        assert is_here(name)
    for name in ("tiny", "gone.py:Brightness", "/models/tiny", "unmade"):
        assert not is_here(name)


def test_stored_rows_are_made_again_with_the_file_and_with_no_other(mine, monkeypatch):
    vllm_extract("--encoder", NAME, "--out", "f.zarr")
    stream = open_store(mine.parent / "f.zarr").stream()
    again = recompute_rows(stream, 3, encoder="./mine.py:Brightness")
    assert [row.max_abs for row in again.rows] == [0.0] * 3
    assert stream.encoder_source == f"{mine}:Brightness"
    (mine.parent / "elsewhere").mkdir()
    (mine.parent / "elsewhere" / "videos").symlink_to(mine.parent / "videos")
    monkeypatch.chdir(mine.parent / "elsewhere")
    assert [row.ok for row in recompute_rows(stream, 1).rows] == [True]  # by where it came from
    monkeypatch.chdir(mine.parent)
    assert [row.ok for row in recompute_rows(stream, 1).rows] == [True]  # the file lies here
    edit(mine, "mean(1)", "amin(1)")
    with pytest.raises(StoreError, match=r"cannot be made again here: encoder\.id = mine\.py:Bri"):
        recompute_rows(stream, 1, encoder=str(mine) + ":Brightness")


def test_an_installed_encoder_is_called_by_its_package_s_version(mine, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    assert load_encoder("mine", CPU).recipe.id == "mine@my-encoders==1.0"
    vllm_extract("--encoder", "mine", "--out", "f.zarr")
    stream = open_store("f.zarr").stream("mine")
    assert [row.ok for row in recompute_rows(stream, 2).rows] == [True] * 2


def test_another_version_of_a_package_is_another_recipe(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, version="1.0")
    first = find_foreign("mine").id
    install(tmp_path / "new", monkeypatch, version="1.1")
    assert (first, find_foreign("mine").id) == ("mine@my-encoders==1.0", "mine@my-encoders==1.1")


def test_two_packages_that_offer_one_name_are_both_named(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, distribution="one")
    install(tmp_path, monkeypatch, distribution="other", version="2.0")
    with pytest.raises(ConfigError, match=r"'mine': is offered by one 1\.0 and other 2\.0"):
        load_encoder("mine", CPU)


def test_a_built_in_name_wins_over_a_package_s(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, name="fake")
    assert load_encoder("fake", CPU).recipe.id == "fake"


def test_a_misspelt_installed_name_is_named(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, name="brightness")
    with pytest.raises(ConfigError, match="Did you mean 'brightness'"):
        load_encoder("brighness", CPU)


def test_finding_an_encoder_runs_nothing_of_it(mine, tmp_path, monkeypatch):
    mine.write_text("raise SystemExit")
    install(tmp_path, monkeypatch).write_text("raise SystemExit")
    assert find_foreign(NAME) is not None
    assert find_foreign("mine") is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("row_shape = (2,)", "", r"made a Brightness without 'row_shape', expected a tuple"),
        ("row_shape = (2,)", "row_shape = 2", r"its row_shape is 2, expected a tuple"),
        ("row_shape = (2,)", "row_shape = (2, 0)", r"its row_shape is \(2, 0\), expected"),
        ("frames_per_window = 1", "frames_per_window = 0", "its frames_per_window is 0, expected"),
        ("choose_device(options.device)", "'cpu'", "its device is 'cpu', expected a torch.device"),
        ("weights_sha256({})", "'none'", "weights_sha256 is 'none', expected 64 hex digits"),
        (
            "std(1)], dim=1)",
            "std(1)], dim=0)",
            r"float32 \(2, 1\) for 1 windows, expected .*\(1, 2",
        ),
        ("dim=1)\n", "dim=1).double()\n", r"encode returned torch\.float64 \(1, 2\)"),
        ("dim=1)\n", "dim=1).tolist()\n", r"encode returned <class 'list'>"),
        ("def encode", "def enkode", "without 'encode', expected a method"),
        (".mean(1)", ".no(1)", r"failed at a batch \(mine\.py, line 22\): AttributeError"),
        ("self.device =", "self.no[0] =", r"failed when it was made \(mine\.py, line 15\)"),
        ("import torch", "import torchh", r"cannot be imported \(mine\.py, line 2\): ModuleNotF"),
        ("import torch", "import", r"cannot be imported: SyntaxError: .*\(mine\.py, line 2\)"),
        ("class Brightness", "class Other", r"has no 'Brightness'\. It has: torch, .*Other"),
        ("class Brightness", "Brightness = 3\nclass Other", "is int, expected a class or function"),
        ('"exact", size=(8, 8)', '"shortest_edge", size=(8, 8)', "frames of different sizes"),
    ],
)
def test_what_an_encoder_lacks_is_one_sentence_that_says_whose_it_is(mine, old, new, message):
    edit(mine, old, new)
    with pytest.raises(ConfigError, match=rf"encoder 'mine\.py:Brightness'.*{message}"):
        load_encoder(NAME, CPU)


def test_an_installed_encoder_s_fault_names_the_package(tmp_path, monkeypatch):
    edit(install(tmp_path, monkeypatch), "row_shape = (2,)", "row_shape = (3,)")
    with pytest.raises(
        ConfigError,
        match=r"'mine' of the package my-encoders 1\.0 \(my_encoders_module:Brightness\): encode",
    ):
        load_encoder("mine", CPU)


def test_a_fault_in_the_middle_of_a_run_is_a_sentence_too(mine):
    encoder = load_encoder(NAME, CPU)
    with pytest.raises(PipelineError, match=r"failed at a batch \(mine\.py, line 21\): ValueError"):
        encoder.encode(torch.ones(1, 2, 3, 8, 8))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py:A", r"gone\.py cannot be read: No such file"),
        ("mine.py", r"say what makes the encoder in this file, as mine\.py:MyEncoder"),
        ("mine.py:", r"say what makes the encoder in this file"),
    ],
)
def test_a_name_of_no_encoder_in_a_file_is_refused(mine, name, message):
    with pytest.raises(ConfigError, match=message):
        load_encoder(name, CPU)


def test_the_bytes_that_were_hashed_are_those_that_run(mine):
    found = find_foreign(NAME)
    edit(mine, "row_shape = (2,)", "row_shape = (3,)")
    assert found.make(CPU).row_shape == (2,)


def test_a_stream_is_named_by_what_stands_before_the_at_sign(tmp_path):
    store = make_store(tmp_path / "f.zarr", stream="mine")
    recipe = make_recipe(encoder_id="mine@my-encoders==1.1")
    assert stream_names(None, [recipe]) == ["mine"]
    assert stream_names(store, [recipe]) == [f"mine-{recipe.fingerprint[:8]}"]
    old = replace(recipe, encoder=replace(recipe.encoder, id="openai/clip"))
    assert stream_names(None, [old]) == ["openai-clip"]
