import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cache_schema.errors import ConfigError
from extract.encode.encoders import ENCODERS, EncoderOptions, load_encoder, placement
from extract.encode.encoders.base import encode_fixed, single_frame
from extract.encode.encoders.placement import choose_device, choose_dtype
from extract.encode.encoders.weights import weights_sha256

CPU = EncoderOptions(device="cpu")


def windows(count):
    return torch.randn(count, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_importing_the_package_imports_neither_torch_nor_transformers():
    code = "import sys, extract.encode.encoders; print({'torch', 'transformers'} & {*sys.modules})"
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ENCODERS)
def test_every_built_in_encoder_loads_by_its_name(name):
    encoder = load_encoder(name, CPU)
    assert encoder.recipe.id == name
    assert encoder.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet_lite", "Did you mean 'efficientnet_lite0'"),
        ("clip", "Known: efficientnet_lite0. A hub id looks like openai/"),
        ("/no/such/folder", "nor an existing folder"),
    ],
)
def test_an_unknown_name_is_refused_with_what_names_look_like(name, message):
    with pytest.raises(ConfigError, match=message):
        load_encoder(name, CPU)


def test_fake_rows_are_fixed_numbers_of_the_cells_colours():
    # All pixels at 1: each cell's token is the sum of its three projection vectors.
    row = load_encoder("fake", CPU).encode(torch.ones(1, 1, 3, 32, 32))[0]
    numbers = [(i * 7919 % 257 - 128) / 128 for i in range(16 * 3 * 16)]
    expected = [sum(numbers[d::16]) / 16 for d in range(16)]
    assert row.tolist() == pytest.approx(expected, abs=1e-5)


def test_fake_grid_is_tokens_whose_mean_is_the_default_row():
    grid = load_encoder("fake", EncoderOptions(device="cpu", pooling="grid"))
    tokens = grid.encode(windows(3))
    assert tuple(tokens.shape) == (3, *grid.row_shape) == (3, 16, 16)
    rows = load_encoder("fake", CPU).encode(windows(3))
    torch.testing.assert_close(tokens.mean(1), rows)


class CountingEncoder:
    """Answers with each window's first pixel; notes the batch sizes it is called with."""

    row_shape = (1,)
    device = torch.device("cpu")

    def __init__(self):
        self.batch_sizes = []

    def encode(self, pixels_BFCHW):
        self.batch_sizes.append(len(pixels_BFCHW))
        return pixels_BFCHW[:, 0, 0, 0, :1]


@pytest.mark.parametrize(("count", "batches"), [(0, 0), (1, 1), (4, 1), (9, 3)])
def test_every_batch_has_the_fixed_size_and_fillers_are_dropped(count, batches):
    encoder = CountingEncoder()
    pixels = windows(count)
    rows = encode_fixed(encoder, pixels, 4)
    assert encoder.batch_sizes == [4] * batches
    assert torch.equal(rows, pixels[:, 0, 0, 0, :1])


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0, must be at least 1"):
        encode_fixed(CountingEncoder(), windows(1), 0)


def test_windows_of_several_frames_are_refused_by_image_encoders():
    with pytest.raises(ValueError, match="an image network sees one frame per window"):
        single_frame(torch.zeros(1, 2, 3, 8, 8))


def test_weights_hash_covers_name_shape_dtype_and_bytes_but_not_order():
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(3)}
    digest = weights_sha256(state)
    assert weights_sha256(dict(reversed(state.items()))) == digest
    changed = [
        {**state, "a": torch.arange(6.0).view(3, 2)},
        {**state, "a": torch.arange(6, dtype=torch.int32).view(2, 3)},
        {**state, "a": torch.arange(6.0).view(2, 3) + 1e-7 * torch.eye(2, 3)},
        {"a": state["a"], "c": state["b"]},
        {**state, "b": torch.tensor([3])},
    ]
    assert len({digest, *map(weights_sha256, changed)}) == 6


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "'gpu': expected auto, cpu, cuda or cuda:N"),
        ("cuda:99", r"CUDA devices. Use --device cpu or auto"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, message):
    with pytest.raises(ConfigError, match=message):
        choose_device(device)


def test_auto_device_is_a_gpu_where_there_is_one(monkeypatch):
    for has_gpu, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert choose_device("auto").type == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : sse avx512_bf16 avx2", "bfloat16"),
        ("flags : amx_bf16 amx_tile", "bfloat16"),
        ("flags : sse avx512f avx2", "float32"),
        (None, "float32"),
    ],
)
def test_auto_dtype_follows_the_cpus_instructions(tmp_path, monkeypatch, flags, expected):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(placement, "_CPU_INFO", tmp_path / "cpuinfo")
    cpu = torch.device("cpu")
    assert choose_dtype(EncoderOptions(), cpu) == expected
    assert choose_dtype(EncoderOptions(compute_dtype="float16"), cpu) == "float16"


@pytest.mark.parametrize("supported", [True, False])
def test_auto_dtype_on_a_gpu_follows_its_hardware(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    expected = "bfloat16" if supported else "float32"
    assert choose_dtype(EncoderOptions(), torch.device("cuda")) == expected
