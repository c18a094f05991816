"""What happened to every video: the failure ledger, the summary and the exit code."""

import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from extract.sources import VideoFile

__all__ = ["Failure", "RunReport", "append_failures", "failure_of", "ledger_path"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One video that could not be used."""

    video_id: str
    path: str
    stage: str
    """``open``, ``decode`` or ``encode``."""
    error: str
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def failure_of(video: VideoFile, stage: str, error: str) -> Failure:
    """Return the ledger entry of a video; bytes of its name that are no text are spelt out."""
    names = {"video_id": video.id, "path": str(video.path)}
    spelt = {key: name.encode("utf-8", "backslashreplace").decode() for key, name in names.items()}
    return Failure(**spelt, stage=stage, error=error)


@dataclass(kw_only=True)
class RunReport:
    """Counts and times of one run of ``vllm-extract``."""

    store: str
    streams: list[str]
    num_done: int = 0
    num_skipped: int = 0
    num_rows: int = 0
    video_seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    busy_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Stage -> seconds its thread was at work; the stages overlap."""
    started: float = field(default_factory=time.perf_counter)

    def fail(self, video: VideoFile, stage: str, error: str) -> None:
        """Note that a video could not be used."""
        self.failures.append(failure_of(video, stage, error))

    @property
    def exit_code(self) -> int:
        """0 if every video is in the store, 3 if some failed."""
        return 3 if self.failures else 0

    def summary(self) -> dict[str, object]:
        """Return the run as one JSON object."""
        wall = time.perf_counter() - self.started
        return {
            "store": self.store,
            "streams": self.streams,
            "videos_done": self.num_done,
            "videos_skipped": self.num_skipped,
            "videos_failed": len(self.failures),
            "rows": self.num_rows,
            "video_hours": self.video_seconds / 3600,
            "wall_seconds": wall,
            "video_hours_per_hour": self.video_seconds / wall,
            "busy_seconds": {name: round(value, 3) for name, value in self.busy_seconds.items()},
            "failures": [asdict(failure) for failure in self.failures],
        }

    def text(self) -> str:
        """Return the summary as lines for a person."""
        facts = self.summary()
        stages = ", ".join(f"{name} {value:.1f} s" for name, value in self.busy_seconds.items())
        lines = [
            f"{self.num_done} videos extracted, {self.num_skipped} already there, "
            f"{len(self.failures)} failed.",
            f"{self.num_rows} rows from {facts['video_hours']:.3f} video-hours in "
            f"{facts['wall_seconds']:.1f} s: {facts['video_hours_per_hour']:.1f} video-hours per "
            f"hour (busy: {stages or 'nothing'}).",
            f"Store: {self.store} (stream{'s' if len(self.streams) > 1 else ''} "
            f"{', '.join(self.streams)})",
        ]
        lines += [f"failed: {f.video_id} ({f.path}): {f.error}" for f in self.failures]
        if self.failures:
            lines.append(f"Failures are listed in {ledger_path(Path(self.store))}")
        return "\n".join(lines)


def ledger_path(store: Path) -> Path:
    """Return where the failure ledger of a store lies: beside it, JSON lines."""
    return store.with_name(f"{store.name}.failures.jsonl")


def append_failures(store: Path, failures: list[Failure]) -> None:
    """Add failures to the store's ledger."""
    if not failures:
        return
    with ledger_path(store).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(failure)) + "\n" for failure in failures)
