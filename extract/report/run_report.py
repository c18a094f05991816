"""What happened to every video of a run: the summary and the exit code."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from extract.report.ledger import Failure, Ledger, failure_of
from extract.sources.videos import VideoFile

__all__ = ["RunReport"]


@dataclass(kw_only=True)
class RunReport:
    """Counts and times of one run of ``vllm-extract``, or of one worker's share of it."""

    store: str
    streams: list[str]
    num_done: int = 0
    num_skipped: int = 0
    num_rows: int = 0
    video_seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    failed_before: list[Failure] = field(default_factory=list)
    """Standing entries of the ledger: videos that were not tried again."""
    moved: list[tuple[str, str]] = field(default_factory=list)
    """(id asked for, id the same file is stored under)."""
    shard: str | None = None
    """``I/N`` if this run had only a share of the videos."""
    busy_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Stage -> seconds its thread was at work; the stages overlap, and so do workers."""
    cpu_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Stage -> CPU seconds of its threads and, for decode, of the decoding process."""
    gpu_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Stage -> seconds that GPUs were at work for it; without a GPU there is none."""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """Stage -> most memory that its process held; of several workers, the largest."""
    video_bytes: int = 0
    """Size of the finished videos' files."""
    feature_bytes: int = 0
    """Of the committed rows, without their times."""
    devices: set[str] = field(default_factory=set)
    """``cpu`` and names of GPUs that encoded."""
    num_workers: int = 1
    """Processes that encode at a time, at most."""
    started: float = field(default_factory=time.perf_counter)
    ledger: Ledger | None = None
    """Gets every failure at once: a run that is killed has told what it knew."""

    def fail(
        self,
        video: VideoFile,
        streams: Sequence[str],
        stage: str,
        error: str,
        *,
        stands: bool = True,
    ) -> None:
        """Note that a video could not be used for some streams."""
        self.note([failure_of(video, streams, stage, error, stands=stands)])

    def note(self, failures: Sequence[Failure]) -> None:
        """Take over failures, and write them to the ledger if there is one."""
        self.failures.extend(failures)
        if self.ledger is not None:
            self.ledger.append(failures)

    def add(self, share: "RunReport") -> None:
        """Take over what a worker reports of its share."""
        self.num_done += share.num_done
        self.num_skipped += share.num_skipped
        self.num_rows += share.num_rows
        self.video_seconds += share.video_seconds
        self.note(share.failures)
        self.video_bytes += share.video_bytes
        self.feature_bytes += share.feature_bytes
        for stage, seconds in share.busy_seconds.items():
            self.busy_seconds[stage] += seconds
        for stage, seconds in share.cpu_seconds.items():
            self.cpu_seconds[stage] += seconds
        for stage, seconds in share.gpu_seconds.items():
            self.note_gpu(stage, seconds)
        for stage, peak in share.peak_bytes.items():
            self.note_peak(stage, peak)
        self.devices |= share.devices

    def note_gpu(self, stage: str, seconds: float | None) -> None:
        """Add seconds that a GPU was at work for a stage; None says that there was none."""
        if seconds is not None:
            self.gpu_seconds[stage] += seconds

    def note_peak(self, stage: str, num_bytes: int) -> None:
        """Note the most memory that a stage's process held."""
        self.peak_bytes[stage] = max(num_bytes, self.peak_bytes.get(stage, 0))

    @property
    def wall_seconds(self) -> float:
        """Seconds since the run had planned and loaded its networks."""
        return time.perf_counter() - self.started

    @property
    def exit_code(self) -> int:
        """0 if every video is in the store, 3 if some are not, now or since an earlier run."""
        return 3 if self.failures or self.failed_before else 0

    def summary(self) -> dict[str, object]:
        """Return the run as one JSON object."""
        wall = self.wall_seconds
        return {
            "store": self.store,
            "streams": self.streams,
            "shard": self.shard,
            "videos_done": self.num_done,
            "videos_skipped": self.num_skipped,
            "videos_failed": _num_videos(self.failures),
            "videos_failed_before": _num_videos(self.failed_before),
            "rows": self.num_rows,
            "video_hours": self.video_seconds / 3600,
            "wall_seconds": wall,
            "video_hours_per_hour": self.video_seconds / wall,
            "busy_seconds": _rounded(self.busy_seconds),
            "cpu_seconds": _rounded(self.cpu_seconds),
            "gpu_seconds": _rounded(self.gpu_seconds) or None,
            "peak_bytes": self.peak_bytes,
            "video_bytes": self.video_bytes,
            "feature_bytes": self.feature_bytes,
            "failures": [asdict(failure) for failure in self.failures],
            "failed_before": [asdict(failure) for failure in self.failed_before],
        }

    def text(self) -> str:
        """Return the summary as lines for a person."""
        facts = self.summary()
        stages = ", ".join(f"{name} {value:.1f} s" for name, value in self.busy_seconds.items())
        before = facts["videos_failed_before"]
        lines = [
            f"{self.num_done} videos extracted, {self.num_skipped} already there, "
            f"{facts['videos_failed']} failed"
            + (f", {before} failed before and not tried again." if before else "."),
        ]
        if stages:  # else nothing was done
            lines.append(
                f"{self.num_rows} rows from {facts['video_hours']:.3f} video-hours in "
                f"{facts['wall_seconds']:.1f} s: {facts['video_hours_per_hour']:.1f} video-hours "
                f"per hour (busy: {stages})."
            )
        lines += [
            f"Store: {self.store} (stream{'s' if len(self.streams) > 1 else ''} "
            f"{', '.join(self.streams)})",
        ]
        lines += [f"failed: {f.video_id} ({f.path}): {f.error}" for f in self.failures]
        lines += [f"failed before: {f.video_id} ({f.path}): {f.error}" for f in self.failed_before]
        if self.ledger is not None and self.exit_code:
            again = " Try those that failed before with --retry-failed." if before else ""
            lines.append(f"Failures are listed in {self.ledger.path}.{again}")
        return "\n".join(lines)


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(value, 3) for stage, value in seconds.items()}


def _num_videos(failures: Sequence[Failure]) -> int:
    """Return how many videos failed; one may fail for each of several streams."""
    return len({failure.video_id for failure in failures})
