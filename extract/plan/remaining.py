"""The next video of a run, when others may be filling the same store.

Longest first, so that no worker is left with a long one at the end. Before each video the store's
commits are looked at: what another process has committed meanwhile is passed over. While others
are at work each process goes its own random way, so that two of them seldom take the same video;
if they do, both commit it and readers count it once.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from extract.plan.committed import CommittedVideos
from extract.plan.jobs import Job
from extract.report.run_report import RunReport

__all__ = ["Remaining"]


class Remaining:
    """Jobs that still need doing, each decided on when it is asked for."""

    def __init__(self, jobs: Sequence[Job], commits: CommittedVideos, report: RunReport) -> None:
        """Prepare to go through ``jobs``.

        Args:
            jobs: Longest first.
            commits: Of the store that is being filled.
            report: Counts those that others have done.
        """
        self._jobs = list(jobs)
        self._commits = commits
        self._report = report
        self._others_at_work = commits.refresh() > 0
        # Any seed serves but the same one in two processes.
        self._random = random.Random()

    def __iter__(self) -> Iterator[Job]:
        """Yield each job that is not committed yet, with the streams it lacks by now."""
        while self._jobs:
            job = self._jobs.pop(self._choice())
            if missing := self._commits.missing(job.video.id, job.streams):
                yield replace(job, streams=missing)
            else:
                self._report.num_skipped += 1

    def _choice(self) -> int:
        # One of the parts that are being written may be this process's own.
        self._others_at_work |= self._commits.refresh() > 1
        return self._random.randrange(len(self._jobs)) if self._others_at_work else 0
