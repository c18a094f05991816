"""What every encoder offers, and the one way to call it so that rows can be reproduced.

Data in -> out: windows of network input, float32 (B, F, C, H, W) -> features, float32
(B, *row_shape).
"""

# Shapes: B batch · F frames of a window · C, H, W network input

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from cache_schema.recipe import EncoderRecipe, PreprocessRecipe

__all__ = ["Encoder", "Exportable", "encode_fixed", "single_frame"]


class Encoder(Protocol):
    """A network that turns each window of frames into one row."""

    @property
    def recipe(self) -> EncoderRecipe:
        """What determines the rows, apart from the frames."""

    @property
    def preprocess(self) -> PreprocessRecipe:
        """What the network wants done to a decoded frame."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(dim,) or, for the token grid, (tokens, dim)."""

    @property
    def frames_per_window(self) -> int:
        """Frames the network looks at together; 1 for image networks."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return the rows of a batch of windows, float32 (B, *row_shape), on ``device``."""


@runtime_checkable
class Exportable(Encoder, Protocol):
    """An encoder that is one network in torch from pixels to rows: other runtimes can run it."""

    @property
    def network(self) -> nn.Module:
        """All weights that ``encode`` uses."""

    @property
    def definition(self) -> str:
        """What besides the weights and our own source says what the network computes."""


def encode_fixed(encoder: Encoder, pixels_BFCHW: Tensor, batch_size: int) -> Tensor:
    """Encode any number of windows in batches of exactly ``batch_size``, zeros filling the last.

    Matrix libraries choose their kernels by the size of the batch, so the same window gives other
    last bits in a batch of 1 or 32 than in one of 8 (up to 6e-6 of values up to 5.7, float32, CPU).
    With the size fixed, neither its neighbours nor its place in the batch change a row: equal bit
    for bit on a CPU with one thread for EfficientNet, CLIP, SigLIP, ViT and VideoMAE, in float32
    and bfloat16. The place can still show where a layer's width is no multiple of 16, and another
    number of threads or another machine may change last bits.

    Args:
        encoder: The network.
        pixels_BFCHW: Network input, any B.
        batch_size: Windows per call of the network, at least 1.

    Returns:
        float32 (B, *row_shape), on the encoder's device.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, must be at least 1")
    num_windows = pixels_BFCHW.shape[0]
    rows = torch.empty((num_windows, *encoder.row_shape), device=encoder.device)
    for start in range(0, num_windows, batch_size):
        batch_BFCHW = pixels_BFCHW[start : start + batch_size]
        count = batch_BFCHW.shape[0]
        if count < batch_size:
            filler = batch_BFCHW.new_zeros((batch_size - count, *batch_BFCHW.shape[1:]))
            batch_BFCHW = torch.cat([batch_BFCHW, filler])
        rows[start : start + count] = encoder.encode(batch_BFCHW)[:count]
    return rows


def single_frame(pixels_BFCHW: Tensor) -> Tensor:
    """Return (B, C, H, W) for an image network.

    Raises:
        ValueError: if windows have more than one frame.
    """
    if pixels_BFCHW.ndim != 5 or pixels_BFCHW.shape[1] != 1:
        raise ValueError(
            f"pixels have shape {tuple(pixels_BFCHW.shape)}, expected (B, 1, C, H, W): "
            "an image network sees one frame per window"
        )
    return pixels_BFCHW[:, 0]
