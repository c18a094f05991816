"""One video on its way into one stream: what the encode and the write stage share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache_schema.records import VideoRecord
from cache_schema.timeline import RowClock
from extract.decode.frames import VideoFacts
from extract.encode.windows import WindowAssembler
from extract.plan.jobs import Job
from extract.plan.targets import Target

__all__ = ["Work"]


@dataclass(eq=False)
class Work:
    """The state of one (video, stream) pair."""

    job: Job
    target: Target
    windows: WindowAssembler
    facts: VideoFacts | None = None
    """Known once the video was read to its end."""
    is_failed: bool = False
    feature_bytes: int = 0
    """Of the rows that were written so far."""

    @classmethod
    def start(cls, job: Job, target: Target) -> "Work":
        """Return the state before the first frame."""
        sampling = target.recipe.sampling
        windows = WindowAssembler(sampling.frames_per_window, sampling.stride_frames)
        return cls(job, target, windows)

    def times(self, facts: VideoFacts) -> NDArray[np.float64]:
        """Return (rows, 2) start and end seconds of the video's rows."""
        clock = RowClock(self.target.recipe.sampling, facts.duration_seconds)
        return clock.times(0, self.windows.num_windows, facts.frame_seconds)

    def record(self, facts: VideoFacts) -> VideoRecord:
        """Return what the store is to remember of the video."""
        return VideoRecord(
            id=self.job.video.id,
            path=str(self.job.video.path),
            digest=self.job.digest,
            size_bytes=self.job.video.size_bytes,
            duration_seconds=facts.duration_seconds,
            fps=facts.fps,
            num_frames=facts.num_frames,
            width=facts.width,
            height=facts.height,
            decoder=facts.decoder,
            padded_frames=self.windows.padded_frames,
        )
