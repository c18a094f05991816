import json

import pytest
import torch
from tqdm.auto import tqdm

from cache_schema.errors import ConfigError
from extract.encode.encoders import EncoderOptions, load_encoder
from extract.encode.encoders import checkpoint as checkpoint_module
from extract.encode.encoders.base import encode_fixed
from extract.encode.encoders.placement import placed
from tests.extract.tiny_models import write_model

CPU = {"device": "cpu", "compute_dtype": "float32"}
IMAGE = ["clip", "siglip", "dinov2", "dinov2_with_registers", "vit", "vit_classifier", "resnet"]
VIDEO = ["videomae", "timesformer", "vivit", "vjepa2"]
NUM_PREFIX = {"siglip": 0, "dinov2_with_registers": 4, "videomae": 0, "vjepa2": 0, "resnet": 0}
TOKENS = {"videomae": 32, "timesformer": 64, "vivit": 32, "vjepa2": 32, "resnet": 16}


def windows(encoder, count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, encoder.frames_per_window, 3, 32, 32, generator=generator)


def load(path, **options):
    return load_encoder(str(path), EncoderOptions(**CPU | options))


def expected_output(model, name, pixels_BFCHW):
    """What the library's own model gives for the same pixels."""
    with torch.inference_mode():
        if name in VIDEO:
            return getattr(model, name, model)(pixels_BFCHW)
        tower = getattr(model, "vision_model", getattr(model, "vit", model))
        return tower(pixels_BFCHW[:, 0])


def expected_default(name, output):
    if name in {"clip", "siglip", "dinov2", "dinov2_with_registers", "vit", "resnet"}:
        return output.pooler_output.flatten(1)
    hidden = output.last_hidden_state
    return hidden.mean(1) if name in {"videomae", "vjepa2"} else hidden[:, 0]


@pytest.mark.parametrize("name", IMAGE + VIDEO)
def test_default_row_is_the_librarys_own_embedding(tmp_path, name):
    path, model = write_model(tmp_path, name)
    encoder = load(path)
    pixels = windows(encoder)
    rows = encoder.encode(pixels)
    expected = expected_default(name, expected_output(model, name, pixels))
    assert rows.dtype == torch.float32
    assert tuple(rows.shape) == (3, *encoder.row_shape)
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", IMAGE + VIDEO)
def test_grid_holds_the_patch_tokens_and_mean_is_their_mean(tmp_path, name):
    path, model = write_model(tmp_path, name)
    grid, mean = load(path, pooling="grid"), load(path, pooling="mean")
    pixels = windows(grid)
    tokens = expected_output(model, name, pixels).last_hidden_state
    tokens = tokens.flatten(2).transpose(1, 2) if tokens.ndim == 4 else tokens
    expected = tokens[:, NUM_PREFIX.get(name, 1) :]
    assert grid.row_shape == tuple(expected.shape[1:])
    assert grid.row_shape[0] == TOKENS.get(name, 16)
    torch.testing.assert_close(grid.encode(pixels), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(mean.encode(pixels), expected.mean(1), rtol=0, atol=1e-5)
    assert mean.row_shape == grid.row_shape[1:]


@pytest.mark.parametrize("name", ["clip", "dinov2_with_registers", "vivit"])
def test_cls_is_the_first_token(tmp_path, name):
    path, model = write_model(tmp_path, name)
    encoder = load(path, pooling="cls")
    pixels = windows(encoder)
    expected = expected_output(model, name, pixels).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder.encode(pixels), expected, rtol=0, atol=1e-5)


def test_positions_that_are_no_weights_lie_where_the_weights_do(tmp_path):
    _, model = write_model(tmp_path, "videomae")
    network = placed(model.videomae, torch.device("meta"), torch.bfloat16)
    positions = network.embeddings.position_embeddings
    assert "position_embeddings" not in dict(network.embeddings.named_parameters())
    assert (positions.device.type, positions.dtype) == ("meta", torch.float32)
    assert {weight.device.type for weight in network.parameters()} == {"meta"}


@pytest.mark.parametrize("name", ["siglip", "videomae", "resnet"])
def test_cls_is_refused_where_there_is_none(tmp_path, name):
    path, _ = write_model(tmp_path, name)
    with pytest.raises(ConfigError, match="the network has no CLS token"):
        load(path, pooling="cls")


def test_recipe_names_the_folder_and_what_default_pooling_came_to(tmp_path):
    path, _ = write_model(tmp_path, "vit_classifier")
    recipe = load(path).recipe
    assert (recipe.id, recipe.compute_dtype, recipe.pooling) == (
        "tiny-vit_classifier",
        "float32",
        "cls",
    )
    path, _ = write_model(tmp_path, "clip")
    assert load(path).recipe.pooling == "default"


def test_frames_per_window_come_from_the_configuration(tmp_path):
    path, _ = write_model(tmp_path, "vjepa2")
    encoder = load(path)
    assert encoder.frames_per_window == 4
    with pytest.raises(ValueError, match=r"expected \(B, 4, C, H, W\)"):
        encoder.encode(torch.zeros(1, 5, 3, 32, 32))


def test_a_checkpoint_without_pooler_gives_the_same_rows_at_every_load(tmp_path):
    path, _ = write_model(tmp_path, "vit_classifier")
    first, second = load(path), load(path)
    assert first.recipe == second.recipe
    assert torch.equal(first.encode(windows(first)), second.encode(windows(second)))


def test_weights_hash_follows_the_weights_not_the_dtype(tmp_path):
    path, model = write_model(tmp_path, "dinov2")
    before = load(path).recipe
    half = load(path, compute_dtype="bfloat16").recipe
    assert half.weights_sha256 == before.weights_sha256
    assert half.compute_dtype == "bfloat16"
    model.layernorm.bias.data[3] += 0.5
    model.save_pretrained(path)
    assert load(path).recipe.weights_sha256 != before.weights_sha256


@pytest.mark.parametrize("name", ["clip", "vjepa2"])
def test_bfloat16_rows_come_back_as_float32_near_the_full_ones(tmp_path, name):
    path, _ = write_model(tmp_path, name)
    full, half = load(path), load(path, compute_dtype="bfloat16")
    rows = half.encode(windows(half))
    assert rows.dtype == torch.float32
    cosine = torch.cosine_similarity(rows, full.encode(windows(full)))
    assert cosine.min() > 0.999
    assert not torch.equal(rows, full.encode(windows(full)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["clip", "siglip", "videomae"])
def test_a_row_depends_on_its_own_window_alone(tmp_path, name, dtype):
    path, _ = write_model(tmp_path, name)
    encoder = load(path, compute_dtype=dtype)
    pixels = windows(encoder, count=11)
    together = encode_fixed(encoder, pixels, 8)
    for i in range(11):
        assert torch.equal(encode_fixed(encoder, pixels[i : i + 1], 8)[0], together[i])
    assert torch.equal(encode_fixed(encoder, pixels.flip(0), 8), together.flip(0))


def test_settings_inside_processor_config_are_found(tmp_path):
    path, _ = write_model(tmp_path, "clip")
    settings = json.loads((path / "preprocessor_config.json").read_text())
    (path / "preprocessor_config.json").unlink()
    (path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert load(path).preprocess.size == (36, 36)


def test_a_model_without_preprocessing_is_refused(tmp_path):
    path, _ = write_model(tmp_path, "vit")
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"Put the model's preprocessor_config.json beside"):
        load(path)


def test_broken_preprocessing_json_is_refused(tmp_path):
    path, _ = write_model(tmp_path, "vit")
    (path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"preprocessor_config.json cannot be loaded"):
        load(path)


def test_missing_weights_are_refused(tmp_path):
    path, model = write_model(tmp_path, "dinov2")
    kept = {key: value for key, value in model.state_dict().items() if key != "layernorm.bias"}
    model.save_pretrained(path, state_dict=kept)
    with pytest.raises(ConfigError, match=r"lacks 1 weights of Dinov2Model.*'layernorm.bias'"):
        load(path)


def test_truncated_weights_are_refused(tmp_path):
    path, _ = write_model(tmp_path, "vit")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="the weights cannot be loaded from this folder"):
        load(path)


@pytest.mark.parametrize("name", ["vit", "videomae"])
def test_preprocessing_that_does_not_fit_the_network_is_refused(tmp_path, name):
    path, _ = write_model(tmp_path, name, crop_size={"height": 24, "width": 24})
    with pytest.raises(ConfigError, match=r"the network refuses the 24 x 24|must be equal"):
        load(path)


def test_a_text_model_is_refused(tmp_path):
    path, _ = write_model(tmp_path, "bert")
    with pytest.raises(ConfigError, match="BertModel needs input_ids; expected a network that"):
        load(path)


def test_code_beside_the_weights_does_not_run_unasked(tmp_path):
    path = tmp_path / "custom"
    path.mkdir()
    settings = {"model_type": "custom", "auto_map": {"AutoConfig": "code.Config"}}
    (path / "config.json").write_text(json.dumps(settings))
    (path / "code.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ConfigError, match="contains custom code"):
        load(path)


def test_an_unreachable_hub_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConfigError, match=r"'nobody/nothing': config.json cannot be loaded from this hub id"
    ) as caught:
        load_encoder("nobody/nothing", EncoderOptions(device="cpu"))
    assert "\n" not in str(caught.value)


def test_loading_shows_no_bar_of_any_library(tmp_path, monkeypatch, capfd):
    path, model = write_model(tmp_path, "dinov2")
    model.save_pretrained(path, max_shard_size="20KB")
    assert len(list(path.glob("*-of-*.safetensors"))) > 1
    read = checkpoint_module.AutoModel.from_pretrained

    def read_with_a_bar(*args, **options):
        list(tqdm([1], desc="a library without a switch"))
        return read(*args, **options)

    monkeypatch.setattr(checkpoint_module.AutoModel, "from_pretrained", read_with_a_bar)
    capfd.readouterr()
    load(path)
    assert capfd.readouterr() == ("", "")
