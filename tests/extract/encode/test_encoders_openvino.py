"""Encoders whose network OpenVINO runs: torch's rows but for last bits, and their own recipe."""

import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from cache_schema.errors import ConfigError
from cache_schema.store import open_store
from extract import extract, extract_like, load_encoder
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders import EncoderOptions, openvino_encoder, openvino_export
from extract.encode.encoders import load_encoder as load
from extract.encode.encoders.base import encode_fixed
from extract.encode.encoders.efficientnet import EfficientNetLite0
from extract.encode.encoders.remembered import load_and_remember, recall
from extract.plan.targets import config_of
from extract.tools.recompute import recompute_rows
from tests.extract.tiny_models import MODELS, write_model
from tests.extract.videos import constant_pts, write_video

KINDS = [kind for kind in MODELS if kind not in ("bert", "vit_classifier")]

CPU = EncoderOptions(device="cpu")
OPENVINO = replace(CPU, runtime="openvino")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache folder for all tests: exporting takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return model type -> folder with a tiny network of it."""
    folder = tmp_path_factory.mktemp("models")
    return {kind: str(write_model(folder, kind)[0]) for kind in KINDS}


def windows(encoder, count, seed=1):
    height, width = encoder.preprocess.crop or encoder.preprocess.size
    shape = (count, encoder.frames_per_window, 3, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def named(name, models):
    return models.get(name, name)


NAMES = ["fake", "efficientnet_lite0", *KINDS]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_torch_but_for_last_bits(name, models):
    options = replace(OPENVINO, compute_dtype="float32")
    made = load(named(name, models), options)
    in_torch = load(named(name, models), replace(CPU, compute_dtype="float32"))
    expected = in_torch.encode(windows(made, 3))
    rows = made.encode(windows(made, 3))
    assert rows.dtype == torch.float32
    assert rows.shape == expected.shape == (3, *made.row_shape)
    # float32 has 24 bits; a thousand roundings of them leave 14.
    assert (rows - expected).abs().max() <= 2**-14 * expected.abs().max()
    assert made.recipe == replace(in_torch.recipe, runtime="openvino")


@pytest.mark.parametrize("name", NAMES)
def test_a_row_depends_on_its_window_alone(name, models):
    encoder = load(named(name, models), OPENVINO)
    pixels = windows(encoder, 6)
    expected = torch.cat([encode_fixed(encoder, one[None], 4) for one in pixels])
    assert torch.equal(encode_fixed(encoder, pixels, 4), expected)
    assert torch.equal(encode_fixed(encoder, pixels.flip(0), 4).flip(0), expected)
    for num_threads in (1, 3):
        with EncodeThreads(num_threads) as threads:
            made = [threads.submit(encoder, batch, 4) for batch in torch.split(pixels, 4)]
            assert torch.equal(torch.cat([rows.result() for rows in made]), expected)


def test_threads_may_encode_side_by_side():
    encoder = load("efficientnet_lite0", OPENVINO)
    batches = [windows(encoder, 2, seed) for seed in range(8)]
    expected = [encoder.encode(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for rows, wanted in zip(pool.map(encoder.encode, batches), expected, strict=True):
            assert torch.equal(rows, wanted)


def test_windows_of_another_shape_are_refused():
    encoder = load("fake", OPENVINO)
    with pytest.raises(ValueError, match=r"expected \(B, 1, 3, 32, 32\)"):
        encoder.encode(torch.zeros(1, 1, 3, 16, 16))


def test_a_network_is_exported_once(models, monkeypatch):
    load(models["vit"], OPENVINO)
    monkeypatch.setattr(openvino_export, "_convert", None)
    encoder = load(models["vit"], OPENVINO)
    assert encoder.encode(windows(encoder, 1)).isfinite().all()


def test_an_export_of_other_software_is_replaced(models, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load(models["vit"], OPENVINO)
    (before,) = (tmp_path / "video-feature-llm" / "openvino").iterdir()
    monkeypatch.setattr(openvino_export, "versions", lambda: {"torch": "9.9"})
    load(models["vit"], OPENVINO)
    (after,) = (tmp_path / "video-feature-llm" / "openvino").iterdir()
    assert before != after


def test_a_network_is_not_run_in_torch_again_to_check_it(monkeypatch):
    load("efficientnet_lite0", OPENVINO)
    monkeypatch.setattr(EfficientNetLite0, "encode", lambda *_: pytest.fail("was run"))
    encoder = load("efficientnet_lite0", OPENVINO)
    assert encoder.encode(windows(encoder, 1)).isfinite().all()


@pytest.mark.parametrize("damage", ["cut off", "other weights"])
@pytest.mark.parametrize("file", ["network.bin", "rows.npy"])
def test_a_damaged_export_is_made_again(file, damage, models, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = load(models["vit"], OPENVINO)
    expected = encoder.encode(windows(encoder, 2))
    (path,) = tmp_path.rglob(file)
    content = path.read_bytes()
    altered = content[: len(content) // 2]
    if damage == "other weights":
        altered += bytes(len(content) - len(altered))
    path.write_bytes(altered)
    encoder = load(models["vit"], OPENVINO)
    assert torch.equal(encoder.encode(windows(encoder, 2)), expected)
    (path,) = tmp_path.rglob(file)
    assert path.read_bytes() == content


def test_where_nothing_can_be_written_it_is_exported_each_time(models, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    encoder = load(models["vit"], OPENVINO)
    assert encoder.encode(windows(encoder, 1)).shape == (1, *encoder.row_shape)


def test_rows_too_far_from_those_of_torch_are_refused(models, monkeypatch):
    monkeypatch.setitem(openvino_encoder.BOUNDS, "float32", 0.0)
    with pytest.raises(ConfigError, match=r"of their length away from those by torch"):
        load(models["vit"], replace(OPENVINO, compute_dtype="float32"))


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(openvino_encoder, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'video-feature-llm\[fast\]'"):
        load("fake", OPENVINO)


def test_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(openvino_encoder, "choose_device", torch.device)
    with pytest.raises(ConfigError, match="runs on a CPU, and device is 'cuda:0'"):
        load("fake", replace(OPENVINO, device="cuda:0"))


def test_code_of_others_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from extract.encode.encoders.fake import FakeEncoder\nclass Mine(FakeEncoder):\n    pass\n"
    )
    with pytest.raises(ConfigError, match="code of others, which only torch runs"):
        load(f"{tmp_path}/mine.py:Mine", OPENVINO)


def test_a_precision_the_processor_lacks_is_refused(models):
    # No CPU of today's x86 servers before Sapphire Rapids, nor AMD's, multiplies float16.
    try:
        encoder = load(models["vit"], replace(OPENVINO, compute_dtype="float16"))
    except ConfigError as error:
        assert "OpenVINO computes in" in str(error)  # noqa: PT017 - either is right
    else:
        assert encoder.recipe.compute_dtype == "float16"


def test_loading_tells_nobody():
    program = (
        "import sys; from extract.encode.encoders import EncoderOptions, load_encoder;"
        "load_encoder('fake', EncoderOptions(device='cpu', runtime='openvino'));"
        "assert 'openvino' in sys.modules;"
        "assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_recipe_is_remembered_with_its_runtime():
    load_and_remember("fake", OPENVINO)
    load_and_remember("fake", CPU)
    assert recall("fake", OPENVINO).recipe.runtime == "openvino"
    assert recall("fake", CPU).recipe.runtime == "torch"


@pytest.fixture
def videos(tmp_path):
    for name, frames in (("a", 60), ("b", 45)):
        write_video(tmp_path / "videos" / f"{name}.mp4", constant_pts(frames))
    return tmp_path / "videos"


def test_one_video_has_a_stream_for_each_runtime(videos, tmp_path):
    for runtime in ("torch", "openvino"):
        extract(videos, tmp_path / "f.zarr", encoders="fake", device="cpu", runtime=runtime)
    streams = open_store(tmp_path / "f.zarr").streams
    assert sorted(stream.recipe.encoder.runtime for stream in streams.values()) == [
        "openvino",
        "torch",
    ]


def test_rows_do_not_depend_on_workers(videos, tmp_path):
    settings = {"encoders": "efficientnet_lite0", "device": "cpu", "runtime": "openvino"}
    extract(videos, tmp_path / "one.zarr", **settings)
    extract(videos, tmp_path / "two.h5", workers=2, **settings)
    one, two = (open_store(tmp_path / name).stream() for name in ("one.zarr", "two.h5"))
    assert one.recipe == two.recipe
    for video in ("a", "b"):
        assert (one.read(video).values == two.read(video).values).all()


def test_features_like_others_are_made_by_their_runtime(videos, tmp_path):
    made = {"encoders": "efficientnet_lite0", "device": "cpu", "runtime": "openvino"}
    extract(videos, tmp_path / "f.zarr", **made)
    stream = open_store(tmp_path / "f.zarr").stream()
    extract_like(stream.recipe, videos / "a.mp4", tmp_path / "g.zarr", device="auto")
    again = open_store(tmp_path / "g.zarr").stream()
    assert again.recipe == stream.recipe
    assert (again.read("a").values == stream.read("a").values).all()


def test_a_recipe_of_openvino_is_met_on_the_cpu_whatever_else_there_is():
    recipe = load_encoder("fake", fps=2, device="cpu", runtime="openvino").recipe
    assert config_of(recipe, "fake", "cuda").device == "cpu"
    in_torch = replace(recipe, encoder=replace(recipe.encoder, runtime="torch"))
    assert config_of(in_torch, "fake", "cuda").device == "cuda"


def test_stored_rows_are_proven_by_their_runtime(videos, tmp_path):
    made = {"encoders": "efficientnet_lite0", "device": "cpu", "runtime": "openvino"}
    extract(videos, tmp_path / "f.zarr", **made)
    done = recompute_rows(open_store(tmp_path / "f.zarr").stream(), 5)
    assert not done.problems
    assert [row.max_abs for row in done.rows] == [0.0] * 5


def test_frames_in_memory_become_the_same_rows(tmp_path):
    encoder = load_encoder("efficientnet_lite0", fps=2, device="cpu", runtime="openvino")
    frames = torch.randint(0, 255, (3, 64, 96, 3), dtype=torch.uint8).numpy()
    assert encoder.recipe.encoder.runtime == "openvino"
    assert len(encoder.encode(frames).values) == 3


def test_signals_are_taken_after_encoders_have_come_and_gone(models):
    first = load(models["vit"], OPENVINO)
    second = load(models["vit"], OPENVINO)
    del first
    gc.collect()
    del second
    gc.collect()
    taken = []
    before = signal.signal(signal.SIGTERM, lambda *signal_and_frame: taken.append(True))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert taken == [True]
