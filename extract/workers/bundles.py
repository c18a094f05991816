"""Bundles of videos: what a worker is handed at a time.

A long video is a bundle of its own; short ones share one, so that handing over costs little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from extract.plan.jobs import Job

__all__ = ["Bundle", "bundle_jobs"]

BUNDLES_PER_WORKER = 8
"""Enough for workers of unequal speed to end together."""
MOST_SECONDS = 600.0
"""What a lost worker loses of short videos, at most."""
UNKNOWN_SECONDS = 60.0
"""Counted for a video whose header tells no duration."""


@dataclass(kw_only=True, eq=False)
class Bundle:
    """Videos that one worker does one after the other."""

    jobs: tuple[Job, ...]
    deaths: int = 0
    """Workers that died while they were at it."""

    def split(self) -> "list[Bundle]":
        """Return a bundle for each video: to find the one that kills workers."""
        return [Bundle(jobs=(job,), deaths=self.deaths) for job in self.jobs]


def bundle_jobs(jobs: Sequence[Job], num_workers: int) -> list[Bundle]:
    """Bundle jobs, which come longest first, into bundles that come longest first."""
    total = sum(map(_seconds, jobs))
    enough = min(MOST_SECONDS, total / (num_workers * BUNDLES_PER_WORKER))
    bundles: list[Bundle] = []
    bundle: list[Job] = []
    seconds = 0.0
    for job in jobs:
        bundle.append(job)
        seconds += _seconds(job)
        if seconds >= enough:
            bundles.append(Bundle(jobs=tuple(bundle)))
            bundle, seconds = [], 0.0
    return [*bundles, Bundle(jobs=tuple(bundle))] if bundle else bundles


def _seconds(job: Job) -> float:
    return job.declared_seconds or UNKNOWN_SECONDS
