"""From a hub id or folder to the encoder of its family."""

from extract.encode.encoders.base import Encoder
from extract.encode.encoders.checkpoint import read_config
from extract.encode.encoders.options import EncoderOptions
from extract.encode.encoders.transformers_image import load_image_encoder
from extract.encode.encoders.transformers_video import VIDEO_FAMILIES, load_video_encoder

__all__ = ["load_pretrained"]


def load_pretrained(name: str, options: EncoderOptions) -> Encoder:
    """Load any image network, or a video network of ``VIDEO_FAMILIES``.

    Raises:
        ConfigError: if the checkpoint cannot be read or is no such network.
    """
    config = read_config(name, options)
    if config.model_type in VIDEO_FAMILIES:
        return load_video_encoder(name, config, options)
    return load_image_encoder(name, config, options)
