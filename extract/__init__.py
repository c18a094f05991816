"""Stage 1: video files -> committed features.

    from extract import extract, load_encoder

    report = extract("videos/", "feats.zarr", encoders="efficientnet_lite0", fps=4)
    rows = load_encoder("efficientnet_lite0", fps=4).encode(frames)     # uint8 (N, H, W, 3)

The other names are for those who write an encoder of their own (docs/extending.md). The names
listed here are the public ones. Everything else, every module's path included, is private and may
change in any release. torch comes with the first name that needs it.
"""

from typing import TYPE_CHECKING

from cache_schema.lazy import lazy_names

if TYPE_CHECKING:
    from cache_schema.recipe import EncoderRecipe, PreprocessRecipe
    from extract.decode.pictures import pictures_at, plays_in_browsers
    from extract.encode.encoders.base import Encoder, single_frame
    from extract.encode.encoders.kept import KeptEncoders
    from extract.encode.encoders.options import EncoderOptions
    from extract.encode.encoders.placement import choose_device, choose_dtype
    from extract.encode.encoders.weights import weights_sha256
    from extract.extraction import extract, extract_like
    from extract.frame_encoder import FrameEncoder, load_encoder
    from extract.live.counts import LiveCounts
    from extract.live.feed import LiveFeed, open_live
    from extract.live.rows import LiveRow
    from extract.live.source import without_password
    from extract.report.ledger import Failure
    from extract.report.progress import Progress
    from extract.report.run_report import RunReport
    from extract.sources.videos import VideoFile, find_videos

__all__ = [
    "Encoder",
    "EncoderOptions",
    "EncoderRecipe",
    "Failure",
    "FrameEncoder",
    "KeptEncoders",
    "LiveCounts",
    "LiveFeed",
    "LiveRow",
    "PreprocessRecipe",
    "Progress",
    "RunReport",
    "VideoFile",
    "choose_device",
    "choose_dtype",
    "extract",
    "extract_like",
    "find_videos",
    "load_encoder",
    "open_live",
    "pictures_at",
    "plays_in_browsers",
    "single_frame",
    "weights_sha256",
    "without_password",
]

_HOMES = {
    "cache_schema.recipe": ["EncoderRecipe", "PreprocessRecipe"],
    "extract.decode.pictures": ["pictures_at", "plays_in_browsers"],
    "extract.encode.encoders.base": ["Encoder", "single_frame"],
    "extract.encode.encoders.kept": ["KeptEncoders"],
    "extract.encode.encoders.options": ["EncoderOptions"],
    "extract.encode.encoders.placement": ["choose_device", "choose_dtype"],
    "extract.encode.encoders.weights": ["weights_sha256"],
    "extract.extraction": ["extract", "extract_like"],
    "extract.frame_encoder": ["FrameEncoder", "load_encoder"],
    "extract.live.counts": ["LiveCounts"],
    "extract.live.feed": ["LiveFeed", "open_live"],
    "extract.live.rows": ["LiveRow"],
    "extract.live.source": ["without_password"],
    "extract.report.ledger": ["Failure"],
    "extract.report.progress": ["Progress"],
    "extract.report.run_report": ["RunReport"],
    "extract.sources.videos": ["VideoFile", "find_videos"],
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker would believe any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
