"""What is left to do: which video lacks which stream. The store's commits are the only truth."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cache_schema.errors import VideoError
from cache_schema.records import VideoRecord
from cache_schema.store import Store
from cache_schema.stream import Stream
from extract.decode import probe
from extract.report import Failure, failure_of
from extract.sources import VideoFile, content_digest

__all__ = ["Job", "Plan", "plan_jobs"]

PROBE_THREADS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One video and the streams it is still missing from."""

    video: VideoFile
    digest: str
    declared_seconds: float
    """Duration by the file's header, for progress and order; 0 if unknown."""
    streams: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All work of a run, longest video first."""

    jobs: list[Job]
    num_complete: int
    moved: list[tuple[str, str]]
    """(id asked for, id the same file is stored under)."""
    failures: list[Failure]
    """Videos that cannot even be opened."""


Outcome = Job | Failure | list[tuple[str, str]]
"""What is to be done about a video: extract it, report it, or nothing but say where it lies."""


def plan_jobs(
    videos: Sequence[VideoFile],
    streams: Sequence[str],
    store: Store | None,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> Plan:
    """Compare the videos with the store's commits and open those that need work.

    A video is complete in a stream if it was committed there under its id with the size it has
    now, or under another id with the same content (it was moved). A file that changed is an
    entry among the failures: its old rows stay untouched.
    """
    present = [store.streams[name] for name in streams if store and name in store.streams]
    planner = _Planner(present, wanted={video.id for video in videos})
    with ThreadPoolExecutor(PROBE_THREADS) as pool:
        # Around the results, not the videos: the pool takes those in all at once.
        outcomes = list(progress(pool.map(lambda video: planner.look(video, streams), videos)))
    jobs = [outcome for outcome in outcomes if isinstance(outcome, Job)]
    complete = [outcome for outcome in outcomes if isinstance(outcome, list)]
    return Plan(
        jobs=sorted(jobs, key=lambda job: (-job.declared_seconds, job.video.id)),
        num_complete=len(complete),
        moved=[pair for pairs in complete for pair in pairs],
        failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
    )


class _Planner:
    """The store's content, indexed for planning."""

    def __init__(self, streams: Sequence[Stream], wanted: set[str]) -> None:
        self._wanted = wanted
        self._records = {
            stream.name: {record.id: record for record in stream.videos()} for stream in streams
        }
        self._by_digest = {
            name: {record.digest: record for record in records.values()}
            for name, records in self._records.items()
        }

    def look(self, video: VideoFile, streams: Sequence[str]) -> Outcome:
        """Return the job for a video, why it cannot be used, or where it already lies."""
        if not _is_text(video):
            return failure_of(video, "open", "its name is not valid UTF-8. Rename the file.")
        records = [self._records.get(name, {}).get(video.id) for name in streams]
        if all(record is not None and record.size_bytes == video.size_bytes for record in records):
            return []
        digest = content_digest(video.path)
        known = [self._known(name, video, digest) for name in streams]
        changed = [record for record in known if record is not None and record.digest != digest]
        if changed:
            return failure_of(
                video,
                "open",
                "has changed since it was extracted: its content differs from the stored one's. "
                "Extract it under another name, or into a new store.",
            )
        missing = frozenset(name for name, record in zip(streams, known, strict=True) if not record)
        if not missing:
            return [(video.id, record.id) for record in known if record and record.id != video.id]
        try:
            seconds = probe(video.path)
        except VideoError as error:
            return failure_of(video, "open", str(error))
        return Job(video=video, digest=digest, declared_seconds=seconds, streams=missing)

    def _known(self, stream: str, video: VideoFile, digest: str) -> VideoRecord | None:
        """Return the record of a video in a stream, by its id or else by its content.

        A copy that is itself among the wanted videos is no moved file: both get rows.
        """
        by_id = self._records.get(stream, {}).get(video.id)
        twin = self._by_digest.get(stream, {}).get(digest)
        return by_id or (twin if twin is not None and twin.id not in self._wanted else None)


def _is_text(video: VideoFile) -> bool:
    """Tell whether a file's name is text: the store and the ledger hold nothing else."""
    try:
        str(video.path).encode()
    except UnicodeEncodeError:
        return False
    return True
