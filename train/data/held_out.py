"""Which training videos are kept out of training, to tell when it is at its best."""

import math
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from cache_schema.errors import ConfigError
from train.config import DataConfig

__all__ = ["held_out", "some_videos"]


def held_out(config: DataConfig, videos: Collection[str], seed: int) -> set[str]:
    """Return the videos that ``selection = "holdout"`` keeps out; none with another selection.

    Args:
        config: Names them in a file, or says how large a share is drawn.
        videos: Ids of all training videos.
        seed: Of the draw.

    Raises:
        ConfigError: if the file cannot be read, or none or all of the videos would be kept out.
    """
    if config.selection != "holdout":
        return set()
    if config.holdout_videos:
        return _named(config.holdout_videos, videos)
    held = some_videos(videos, config.holdout_fraction, seed)
    if held == set(videos):
        raise ConfigError(
            f"data.holdout_fraction is {config.holdout_fraction}, which leaves none of "
            f"{len(held)} training videos. Lower it."
        )
    return held


def some_videos(videos: Collection[str], fraction: float, seed: int) -> set[str]:
    """Return those with the smallest digests of (seed, id), at least one for a fraction above 0.

    So the choice does not depend on their order, and hardly on other videos' presence.
    """
    by_digest = sorted(set(videos), key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    return set(by_digest[: math.ceil(fraction * len(by_digest))])


def _named(path: str, videos: Collection[str]) -> set[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"data.holdout_videos: {path} cannot be read: {error}.") from error
    held = {line.strip() for line in lines} & set(videos)
    if not held or held == set(videos):
        which = "all" if held else "none"
        raise ConfigError(
            f"data.holdout_videos: {path} names {which} of the {len(set(videos))} training videos. "
            "It needs the ids of some, one a line."
        )
    return held
