"""Where a store's videos lie now, and pictures of their rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from cache_schema.errors import VideoError
from cache_schema.place import Place
from cache_schema.stream import Stream
from cache_schema.video_path import found_video
from extract.decode.pictures import pictures_at

__all__ = ["Shot", "VideoFiles"]

INSIDE_SECONDS = 0.001
"""Added to a frame's time, so that rounding does not lead to the frame before."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """The frame of one row."""

    video_id: str
    row: int
    seconds: float
    """When the frame is shown: at the row's start if it is made of one frame, else half way."""
    jpeg: bytes | None
    problem: str
    """Why there is no picture; empty if there is one."""


class VideoFiles:
    """Takes pictures of a stream's videos."""

    def __init__(self, store: Place, stream: Stream) -> None:
        self._store = store
        self._stream = stream

    def shots(self, video_id: str, rows: Sequence[int], *, height: int) -> list[Shot]:
        """Return the frames of some rows of a video."""
        times_R2 = self._stream.times(video_id)
        seconds = [self._instant(*times_R2[row]) for row in rows]
        jpegs: Sequence[bytes | None] = [None] * len(rows)
        problem = ""
        record = self._stream.commit(video_id).video
        path = found_video(record, self._store)
        if path is None:
            problem = "the video file is not where it was" if record.path else "no file is noted"
        else:
            try:
                jpegs = pictures_at(path, seconds, height=height)
            except VideoError as error:
                problem = f"the file {error}"
        return [
            Shot(video_id=video_id, row=row, seconds=second, jpeg=jpeg, problem=problem)
            for row, second, jpeg in zip(rows, seconds, jpegs, strict=True)
        ]

    def _instant(self, start: float, end: float) -> float:
        if self._stream.recipe.sampling.frames_per_window == 1:
            return float(start) + min(INSIDE_SECONDS, float(end - start) / 2)
        return float(start + end) / 2
