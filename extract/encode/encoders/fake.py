"""An encoder without weights files, for tests and dry runs: projected colours of a coarse grid.

Fast, the same on every machine, and different for frames that look different.
"""

# Shapes: B batch · N grid cells · C channels · D feature dim

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_schema.recipe import EncoderRecipe, PreprocessRecipe
from extract.encode.encoders.base import single_frame
from extract.encode.encoders.options import EncoderOptions
from extract.encode.encoders.placement import choose_device, inference
from extract.encode.encoders.pooling import pool, resolve_pooling
from extract.encode.encoders.weights import weights_sha256

__all__ = ["FakeEncoder"]

_GRID = 4
_DIM = 16


class FakeEncoder:
    """Project the mean colour of each of 4 x 4 cells; the default row is the cells' mean.

    Always computes in float32.
    """

    frames_per_window = 1
    preprocess = PreprocessRecipe(
        resize="exact",
        size=(32, 32),
        crop=None,
        interpolation="bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )

    def __init__(self, options: EncoderOptions) -> None:
        self.device = choose_device(options.device)
        self._pooling = resolve_pooling("fake", options.pooling, default="mean", has_cls=False)
        self.network = nn.Module()
        self.network.register_buffer("projection", _projection().to(self.device))
        self.definition = "fake"
        self.row_shape = (_GRID**2, _DIM) if self._pooling == "grid" else (_DIM,)
        self.recipe = EncoderRecipe(
            id="fake",
            weights_sha256=weights_sha256(self.network.state_dict()),
            compute_dtype="float32",
            pooling=self._pooling,
        )

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return float32 (B, 16), or (B, 16, 16) for the grid."""
        with inference(self.device):
            pixels_BCHW = single_frame(pixels_BFCHW).to(self.device)
            cells_BCN = functional.adaptive_avg_pool2d(pixels_BCHW, _GRID).flatten(2)
            projection_NCD = self.network.get_buffer("projection")
            tokens_BND = torch.einsum("bcn,ncd->bnd", cells_BCN, projection_NCD)
            return pool(tokens_BND, self._pooling)


def _projection() -> Tensor:
    """Return fixed numbers in [-1, 1]: integer arithmetic, since random streams may change."""
    numbers = torch.arange(_GRID**2 * 3 * _DIM) * 7919 % 257
    return ((numbers - 128) / 128).view(_GRID**2, 3, _DIM)
