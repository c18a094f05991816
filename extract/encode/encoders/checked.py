"""An encoder of others, held to what ``Encoder`` promises: when it is loaded, and at every batch.

Shapes: B batch, F frames of a window, C, H, W network input.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from cache_schema.errors import ConfigError, PipelineError
from cache_schema.plugins import their_errors
from cache_schema.recipe import UNKNOWN, EncoderRecipe, PreprocessRecipe
from extract.encode.encoders.foreign import ForeignEncoder
from extract.encode.encoders.options import EncoderOptions
from extract.encode.encoders.placement import inference
from extract.encode.preprocess import network_size

__all__ = ["CheckedEncoder", "load_foreign"]

_HELP = "See docs/extending.md."


def _is_row_shape(value: object) -> bool:
    return isinstance(value, tuple) and len(value) in (1, 2) and all(map(_is_count, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_OFFERS: dict[str, tuple[Callable[[object], bool], str]] = {
    "recipe": (lambda it: isinstance(it, EncoderRecipe), "an EncoderRecipe"),
    "preprocess": (lambda it: isinstance(it, PreprocessRecipe), "a PreprocessRecipe"),
    "row_shape": (_is_row_shape, "a tuple of whole numbers, (dim,) or (tokens, dim)"),
    "frames_per_window": (_is_count, "a whole number of at least 1"),
    "device": (lambda it: isinstance(it, torch.device), "a torch.device, as choose_device gives"),
    "encode": (callable, "a method from float32 (B, F, 3, H, W) to float32 (B, *row_shape)"),
}
"""What an encoder has, and how to tell; ``base.Encoder`` says it in types."""


class CheckedEncoder:
    """What stage 1 uses in the place of an encoder of others."""

    def __init__(self, made: object, source: ForeignEncoder) -> None:
        """Take an encoder over.

        Args:
            made: What their code returned.
            source: Where it came from; its id takes the place of the recipe's.

        Raises:
            ConfigError: naming what is missing or of another kind than promised.
        """
        with their_errors(source.whose, "failed when it was looked at"):
            offered = {name: _offered(made, name, source.whose) for name in _OFFERS}
        recipe, preprocess = offered["recipe"], offered["preprocess"]
        assert isinstance(recipe, EncoderRecipe)
        assert isinstance(preprocess, PreprocessRecipe)
        _check_recipe(recipe, source.whose)
        self.recipe = replace(recipe, id=source.id)
        self.preprocess = preprocess
        self.row_shape: tuple[int, ...] = offered["row_shape"]  # type: ignore[assignment]
        self.frames_per_window: int = offered["frames_per_window"]  # type: ignore[assignment]
        self.device: torch.device = offered["device"]  # type: ignore[assignment]
        self._encode: Callable[[Tensor], object] = offered["encode"]  # type: ignore[assignment]
        self._whose = source.whose
        self._try_one_window()

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return their rows, float32 (B, *row_shape), without gradients.

        Raises:
            PipelineError: if their code fails, or returns something else.
        """
        with their_errors(self._whose, "failed at a batch", PipelineError), inference(self.device):
            rows = self._encode(pixels_BFCHW)
        expected = (len(pixels_BFCHW), *self.row_shape)
        if not isinstance(rows, Tensor) or rows.dtype != torch.float32 or rows.shape != expected:
            got = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows)
            raise PipelineError(
                f"{self._whose}: encode returned {got} for {len(pixels_BFCHW)} windows, expected a "
                f"tensor of torch.float32 {expected}. {_HELP}"
            )
        return rows

    def _try_one_window(self) -> None:
        """Encode one black window, so that a run does not begin with what cannot work."""
        try:
            height, width = network_size(self.preprocess)
            shape = (1, self.frames_per_window, 3, height, width)
            self.encode(torch.zeros(shape, device=self.device))
        except PipelineError as error:
            whose = "" if str(error).startswith(self._whose) else f"{self._whose}: "
            raise ConfigError(f"{whose}{error}") from error


def load_foreign(source: ForeignEncoder, options: EncoderOptions) -> CheckedEncoder:
    """Run the code of others and take over the encoder that it makes.

    Raises:
        ConfigError: saying whose it is and what it lacks.
    """
    return CheckedEncoder(source.make(options), source)


def _offered(made: object, name: str, whose: str) -> object:
    is_right, expected = _OFFERS[name]
    if not hasattr(made, name):
        raise ConfigError(
            f"{whose}: made a {type(made).__name__} without '{name}', expected {expected}. {_HELP}"
        )
    value: object = getattr(made, name)
    if not is_right(value):
        raise ConfigError(f"{whose}: its {name} is {value!r}, expected {expected}. {_HELP}")
    return value


def _check_recipe(recipe: EncoderRecipe, whose: str) -> None:
    """Refuse a recipe that leaves open what determines the rows."""
    if not re.fullmatch(r"[0-9a-f]{64}", recipe.weights_sha256):
        raise ConfigError(
            f"{whose}: its recipe's weights_sha256 is '{recipe.weights_sha256}', expected 64 hex "
            "digits: weights_sha256(network.state_dict()), or weights_sha256({}) if it has no "
            f"weights. {_HELP}"
        )
    for name in ("compute_dtype", "pooling"):
        if getattr(recipe, name) == UNKNOWN:
            raise ConfigError(
                f"{whose}: its recipe's {name} is 'unknown', which only imported features may say. "
                f"{_HELP}"
            )
