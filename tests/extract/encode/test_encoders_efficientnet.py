import pytest
import skimage.data
import torch

from cache_schema.errors import ConfigError
from extract.encode.encoders import EncoderOptions, load_encoder
from extract.encode.encoders.base import encode_fixed
from extract.encode.encoders.efficientnet import EfficientNetLite0
from extract.encode.preprocess import preprocess_frames


def load(**options):
    return load_encoder("efficientnet_lite0", EncoderOptions(**{"device": "cpu"} | options))


@pytest.fixture(scope="module")
def encoder():
    return load()


def windows(encoder, *names):
    pictures = [torch.from_numpy(getattr(skimage.data, name)().copy()) for name in names]
    return torch.cat([preprocess_frames(p[None], encoder.preprocess) for p in pictures])[:, None]


@pytest.mark.parametrize(
    ("picture", "classes"),
    [
        ("chelsea", {281, 282, 285}),  # tabby, tiger and Egyptian cat
        ("coffee", {504, 967}),  # coffee mug, espresso
        ("rocket", {657, 744, 812}),  # missile, projectile, space shuttle
    ],
)
def test_the_networks_own_classifier_knows_what_a_picture_shows(encoder, picture, classes):
    # Wrong weights, a wrong crop or a wrong scale of the pixels would show here.
    rows = encoder.encode(windows(encoder, picture))
    with torch.inference_mode():
        scores = encoder.network._fc(rows).softmax(-1)[0]
    assert scores.argmax().item() in classes
    assert scores[list(classes)].sum() > 0.4


def test_recipe_names_weights_dtype_and_pooling(encoder):
    recipe = encoder.recipe
    assert (recipe.id, recipe.compute_dtype, recipe.pooling) == (
        "efficientnet_lite0",
        "float32",
        "mean",
    )
    assert recipe.weights_sha256.startswith("9386950811f5b0b7")
    assert (encoder.row_shape, encoder.frames_per_window) == ((1280,), 1)


def test_grid_keeps_the_49_positions_whose_mean_is_the_default_row(encoder):
    pixels = windows(encoder, "coffee")
    grid = load(pooling="grid")
    tokens = grid.encode(pixels)
    assert tuple(tokens.shape) == (1, *grid.row_shape) == (1, 49, 1280)
    torch.testing.assert_close(tokens.mean(1), encoder.encode(pixels), rtol=0, atol=1e-5)


def test_bfloat16_is_taken_when_asked_for(encoder):
    half = load(compute_dtype="bfloat16")
    pixels = windows(encoder, "chelsea")
    rows = half.encode(pixels)
    assert (half.recipe.compute_dtype, rows.dtype) == ("bfloat16", torch.float32)
    assert half.recipe.weights_sha256 == encoder.recipe.weights_sha256
    assert torch.cosine_similarity(rows, encoder.encode(pixels)).item() > 0.99


def test_a_row_depends_on_its_own_window_alone(encoder):
    pixels = windows(encoder, "chelsea", "coffee", "rocket", "astronaut", "chelsea")
    together = encode_fixed(encoder, pixels, 4)
    assert torch.equal(together[0], together[4])
    assert torch.equal(encode_fixed(encoder, pixels.flip(0), 4), together.flip(0))


def test_fused_rows_are_those_of_the_network_in_double_precision_but_for_last_bits(encoder):
    pixels = windows(encoder, "chelsea", "coffee", "rocket", "astronaut")
    with torch.inference_mode():
        exact = load().network.double().extract_features(pixels[:, 0].double()).mean((2, 3))
    errors = (encoder.encode(pixels) - exact).norm(dim=1) / exact.norm(dim=1)
    assert errors.max() < 1e-5  # 2e-6; as it is written, 1e-6


def test_a_network_is_fused_on_a_cpu_in_float32_alone(encoder):
    assert encoder.computed is not encoder.network
    for options in ({"compute_dtype": "bfloat16"}, {"runtime": "openvino"}):
        plain = EfficientNetLite0(EncoderOptions(device="cpu", **options))
        assert plain.computed is plain.network


def test_weights_that_were_packed_for_one_size_of_batch_serve_others(encoder):
    pixels = windows(encoder, "chelsea", "coffee", "rocket", "astronaut")
    fresh = load()
    alone = torch.cat([fresh.encode(one[None]) for one in pixels])
    torch.testing.assert_close(alone, encoder.encode(pixels), rtol=0, atol=1e-4)


def test_cls_is_refused():
    with pytest.raises(ConfigError, match="'efficientnet_lite0': pooling is 'cls' but the network"):
        load(pooling="cls")
