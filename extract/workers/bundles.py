"""Bundles of videos: what a worker is handed at a time.

A long video is a bundle of its own; short ones share one, so that handing over costs little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from extract.plan.jobs import Job

__all__ = ["Group", "group_jobs"]

GROUPS_PER_WORKER = 8
"""Enough for workers of unequal speed to end together."""
MOST_SECONDS = 600.0
"""What a lost worker loses of short videos, at most."""
UNKNOWN_SECONDS = 60.0
"""Counted for a video whose header tells no duration."""


@dataclass(kw_only=True, eq=False)
class Group:
    """Videos that one worker does one after the other."""

    jobs: tuple[Job, ...]
    deaths: int = 0
    """Workers that died while they were at it."""

    def split(self) -> "list[Group]":
        """Return a group for each video: to find the one that kills workers."""
        return [Group(jobs=(job,), deaths=self.deaths) for job in self.jobs]


def group_jobs(jobs: Sequence[Job], num_workers: int) -> list[Group]:
    """Bundle jobs, which come longest first, into groups that come longest first."""
    total = sum(map(_seconds, jobs))
    enough = min(MOST_SECONDS, total / (num_workers * GROUPS_PER_WORKER))
    groups: list[Group] = []
    bundle: list[Job] = []
    seconds = 0.0
    for job in jobs:
        bundle.append(job)
        seconds += _seconds(job)
        if seconds >= enough:
            groups.append(Group(jobs=tuple(bundle)))
            bundle, seconds = [], 0.0
    return [*groups, Group(jobs=tuple(bundle))] if bundle else groups


def _seconds(job: Job) -> float:
    return job.declared_seconds or UNKNOWN_SECONDS
