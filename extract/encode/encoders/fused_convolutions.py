"""EfficientNet on a CPU in fewer passes over memory: what follows a convolution is done with it.

A convolution, its batch normalisation and ReLU6 are one call of oneDNN here, as torch.compile makes
them, without a compiler and its minutes. Values differ in last bits from those of the network as it
is written: normalisation is folded into weights, which are rounded again, and sums have another
order.

Shapes: B batch, C channels, H, W positions.
"""

import copy

import torch
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dStaticSamePadding
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

__all__ = ["can_fuse", "fused"]

_Then = tuple[str, list[float]]
_CLIP: _Then = ("hardtanh", [0.0, 6.0])  # ReLU6, as oneDNN calls it
_AS_IT_IS: _Then = ("none", [])


def can_fuse(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether a network may be fused: on a CPU with oneDNN, in float32.

    Elsewhere rows would move by more than last bits, or nothing is gained.
    """
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return device.type == "cpu" and dtype == torch.float32 and has_onednn


def fused(network: EfficientNet) -> EfficientNet:
    """Return a copy that maps channels-last pixels to the same features, for inference only."""
    made = copy.deepcopy(network)
    made._conv_stem = _FusedConvolution(made._conv_stem, made._bn0, is_clipped=True)
    made._conv_head = _FusedConvolution(made._conv_head, made._bn1, is_clipped=True)
    made._bn0 = made._bn1 = made._swish = nn.Identity()
    for block in made._blocks:
        if block._block_args.expand_ratio != 1:
            block._expand_conv = _FusedConvolution(block._expand_conv, block._bn0, is_clipped=True)
            block._bn0 = nn.Identity()
        block._depthwise_conv = _FusedConvolution(
            block._depthwise_conv, block._bn1, is_clipped=True
        )
        block._project_conv = _FusedConvolution(block._project_conv, block._bn2, is_clipped=False)
        block._bn1 = block._bn2 = block._swish = nn.Identity()
    return made


class _FusedConvolution(nn.Module):
    """Padding, convolution, batch normalisation of running statistics, and ReLU6 if asked for."""

    def __init__(
        self,
        convolution: Conv2dStaticSamePadding,
        normalisation: nn.BatchNorm2d,
        *,
        is_clipped: bool,
    ) -> None:
        super().__init__()
        assert normalisation.running_mean is not None
        assert normalisation.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            normalisation.running_mean,
            normalisation.running_var,
            normalisation.eps,
            normalisation.weight,
            normalisation.bias,
        )
        self._weight, self._bias = weight.detach(), bias.detach()
        self._pad, sides = _padding(convolution.static_padding)
        self._layout = (sides, [*convolution.stride], [*convolution.dilation], convolution.groups)
        self._then = _CLIP if is_clipped else _AS_IT_IS
        self._packed: Tensor | None = None

    def __getstate__(self) -> dict[str, object]:
        # What oneDNN has packed can be neither copied nor pickled; the first batch packs anew.
        return {**self.__dict__, "_packed": None}

    def forward(self, values_BCHW: Tensor) -> Tensor:
        padded = self._pad(values_BCHW)
        if self._packed is None:
            # Weights as oneDNN wants them for batches like this one, the first; others may do so
            # at the same time, and get the same.
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, *self._layout, [*padded.shape]
            )
        computed: Tensor = torch.ops.mkldnn._convolution_pointwise(
            padded, self._packed, self._bias, *self._layout, *self._then, ""
        )
        return computed


def _padding(static: nn.Module) -> tuple[nn.Module, list[int]]:
    """Return what pads beforehand, and by how much the convolution does on both sides by itself.

    TensorFlow's padding has one more on the right and below where a stride asks for it.
    """
    if isinstance(static, nn.ZeroPad2d):
        left, right, top, bottom = static.padding
        if (left, top) == (right, bottom):
            return nn.Identity(), [top, left]
    return static, [0, 0]
