"""Stores in which a test knows what there is to be found."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cache_schema.store import open_store
from cache_schema.testing import make_recipe, make_times, make_video

NUM_DIMS = 64


def noise(num_rows, seed, num_dims=NUM_DIMS):
    """Return rows that walk at random, (num_rows, num_dims) float32."""
    random = np.random.default_rng(seed)
    steps = random.standard_normal((num_rows, num_dims), dtype=np.float32)
    return random.standard_normal(num_dims, dtype=np.float32) + 0.7 * steps


def write_rows(writer, videos, dtype=np.float16):
    """Add videos of given rows, two a second, to a stream."""
    for video_id, rows in videos.items():
        writer.append(rows.astype(dtype), are_finite=True)  # or not: some are planted so
        writer.commit(make_video(video_id, num_rows=len(rows)), make_times(len(rows)))


def open_stream(path, videos, recipe=None, dtype=np.float16):
    """Write a store of one stream and open it."""
    from cache_schema.store import create_store

    shape = next(iter(videos.values())).shape[1:]
    with create_store(path) as writer:
        write_rows(writer.stream("tiny", recipe or make_recipe(), shape), videos, dtype)
    return open_store(path).stream()


def add_file_video(writer, path, video_id, rows):
    """Add a video whose file lies somewhere."""
    writer.append(rows.astype(np.float16))
    record = make_video(video_id, num_rows=len(rows))
    record = replace(record, path=str(path), size_bytes=Path(path).stat().st_size)
    writer.commit(record, make_times(len(rows)))


def write_grey_video(path, levels, rate=2):
    """Encode frames of one grey each, 0 to 255, ``rate`` a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number, level in enumerate(levels):
            image = np.full((64, 96, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
