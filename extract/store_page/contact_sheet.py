"""Frames of random rows: what the features were made of."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from cache_schema.stream import Stream
from extract.store_page.video_files import Shot, VideoFiles

__all__ = ["NUM_SHOTS", "contact_sheet"]

NUM_SHOTS = 48
SHOT_HEIGHT = 96


def contact_sheet(
    stream: Stream, files: VideoFiles, seed: int, advance: Callable[[int], object]
) -> list[Shot]:
    """Return the frames of random rows, of as many videos as there can be, by video and time.

    Args:
        stream: At least one video.
        files: Where the videos lie.
        seed: Of the draw.
        advance: Called with the number of frames just had.
    """
    random = np.random.default_rng(seed)
    ids = stream.video_ids
    rounds = [random.permutation(len(ids)) for _ in range(-(-NUM_SHOTS // len(ids)))]
    rows: dict[str, set[int]] = defaultdict(set)
    for place in np.concatenate(rounds)[:NUM_SHOTS]:
        video_id = ids[place]
        rows[video_id].add(int(random.integers(stream.rows_of(video_id))))
    shots = []
    for video_id in sorted(rows):
        shots += files.shots(video_id, sorted(rows[video_id]), height=SHOT_HEIGHT)
        advance(len(rows[video_id]))
    return shots
