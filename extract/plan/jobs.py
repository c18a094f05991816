"""What is left to do: which video lacks which stream. The store's commits are the only truth."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, repeat

from cache_schema.errors import PassingVideoError, VideoError
from cache_schema.place import Place, is_address
from cache_schema.records import VideoRecord
from cache_schema.store import Store
from cache_schema.stream import Stream
from extract.decode.process import DecoderProcess, Prober
from extract.report.ledger import Failure, failure_of, spelt_out
from extract.sources.videos import FileState, VideoFile, content_digest, file_state

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
    state: FileState | None = None
    """Of the file that was planned; None for an object."""

    def check_unchanged(self) -> None:
        """Compare the video with the one that was planned, whose digest its rows will bear.

        Costs a look at the file system as long as nothing is different there. Else the content
        counts: another machine may see other times, and ``touch`` makes no other video.

        Raises:
            PassingVideoError: if another file, or none, is there now.
        """
        if self.state is None or (state := file_state(self.video.path)) == self.state:
            return
        try:
            digest = content_digest(self.video.path)
        except VideoError as error:
            raise PassingVideoError(
                f"changed while it was being extracted: it {error} Run the same command again."
            ) from error
        if state is None or state.size_bytes != self.state.size_bytes or digest != self.digest:
            raise PassingVideoError(
                "changed while it was being extracted. Run the same command again."
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All work of a run, longest video first."""

    jobs: list[Job]
    num_complete: int
    moved: list[tuple[str, str]]
    """(id asked for, id the same file is stored under)."""
    failures: list[Failure]
    """Videos that cannot even be opened."""
    failed_before: list[Failure]
    """Standing entries of the ledger: these videos are not tried again."""


Outcome = Job | Failure | list[tuple[str, str]] | None
"""What is to be done about a video: extract it, report it, nothing but say where it lies, or
nothing because it failed before."""


def plan_jobs(
    videos: Sequence[VideoFile],
    streams: Sequence[str],
    store: Store | None,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
    *,
    wanted: Collection[str] = (),
    decoder: DecoderProcess,
    ledger: Mapping[tuple[str, str], Failure] | None = None,
) -> Plan:
    """Compare the videos with the store's commits and open those that need work.

    A video is complete in a stream if it was committed there under its id, from the place and with
    the size it has now, or from another place or under another id with the same content (it was
    moved). A file that changed is an entry among the failures, as is another one of the same id:
    the old rows stay untouched.

    Args:
        videos: Those to look at.
        streams: Names of the streams to fill.
        store: What is there; None before the first run.
        progress: Wraps the iteration over the videos, for a progress bar.
        wanted: Ids that other shards of this run look after.
        decoder: Opens videos. Where there are any it is started, by the thread that calls this, and
            ready for whoever decodes them next.
        ledger: Last entry of each (video id, stream). Where it lists a file of the same size the
            video is not tried again.
    """
    present = [store.streams[name] for name in streams if store and name in store.streams]
    ids = {video.id for video in videos} | set(wanted)
    with Prober(decoder, PROBE_THREADS) as prober, ThreadPoolExecutor(PROBE_THREADS) as pool:
        planner = _Planner(present, ids, ledger or {}, prober.probe)
        # Threads are for files that must be opened: usually far fewer than those that are stored.
        to_open = [video for video in videos if planner.lacking(video, streams)]
        if to_open:
            prober.start()
            planner.learn_digests()
        stored: Iterable[Outcome] = repeat([], len(videos) - len(to_open))
        looks = pool.map(lambda video: planner.look(video, streams), to_open)
        # Around the results, not the videos: the pool takes those in all at once.
        outcomes = list(progress(chain(stored, looks)))
    jobs = [outcome for outcome in outcomes if isinstance(outcome, Job)]
    complete = [outcome for outcome in outcomes if isinstance(outcome, list)]
    return Plan(
        jobs=sorted(jobs, key=lambda job: (-job.declared_seconds, job.video.id)),
        num_complete=len(complete),
        moved=[pair for pairs in complete for pair in pairs],
        failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
        failed_before=sorted(planner.failed_before, key=lambda failure: failure.video_id),
    )


class _Planner:
    """The store's content and the ledger, indexed for planning."""

    def __init__(
        self,
        streams: Sequence[Stream],
        wanted: Collection[str],
        ledger: Mapping[tuple[str, str], Failure],
        probe: Callable[[Place], float],
    ) -> None:
        self.failed_before: list[Failure] = []
        self._probe = probe
        self._wanted = wanted
        self._ledger = ledger
        self._streams = {stream.name: stream for stream in streams}
        self._paths = {stream.name: _paths(stream, wanted) for stream in streams}
        self._by_digest: dict[str, dict[str, str]] = {}

    def learn_digests(self) -> None:
        """Find out under which id each content is stored, before files are opened."""
        for name, stream in self._streams.items():
            # Of several the last one counts, whatever order they come in.
            self._by_digest[name] = {video.digest: video.id for video in sorted(stream.listing())}

    def lacking(self, video: VideoFile, streams: Sequence[str]) -> list[str]:
        """Return the streams that do not hold a video of this id, size and place."""
        return [name for name in streams if not self._is_stored(video, name)]

    def look(self, video: VideoFile, streams: Sequence[str]) -> Outcome:
        """Return the job for a lacking video, why it cannot be used, or where it already lies."""
        lacking = self.lacking(video, streams)
        bad = self._standing(video, lacking)
        self.failed_before.extend(dict.fromkeys(bad.values()))
        to_try = [name for name in lacking if name not in bad]
        return self._open(video, to_try, streams) if to_try else None

    def _open(self, video: VideoFile, to_try: Sequence[str], streams: Sequence[str]) -> Outcome:
        if not _is_text(video):
            error = "its name is not valid UTF-8. Rename the file."
            return failure_of(video, to_try, "open", error)
        if state := file_state(video.path):  # before the digest: what changes from here on is seen
            video = replace(video, size_bytes=state.size_bytes)
        try:
            digest = content_digest(video.path)
        except VideoError as error:
            return failure_of(video, to_try, "open", str(error), stands=error.stands)
        known = {name: self._known(name, video, digest) for name in streams}
        for record in filter(None, known.values()):
            if record.digest != digest:
                return failure_of(video, to_try, "open", _differs(video, record))
        missing = frozenset(name for name in to_try if known[name] is None)
        if not missing:
            records = filter(None, known.values())
            return [(video.id, record.id) for record in records if record.id != video.id]
        try:
            seconds = self._probe(video.path)
        except VideoError as error:
            lacked = sorted(missing)
            return failure_of(video, lacked, "open", str(error), stands=error.stands)
        return Job(
            video=video, digest=digest, declared_seconds=seconds, streams=missing, state=state
        )

    def _is_stored(self, video: VideoFile, stream: str) -> bool:
        """Tell whether a stream holds a video of this id and size that lay in the same place.

        Elsewhere there may be another one: two cameras number their videos alike, and without
        compression the sizes are equal, too. Then the content has to tell.
        """
        present = self._streams.get(stream)
        if present is None or video.id not in present:
            return False
        if present.size_bytes(video.id) != video.size_bytes:
            return False
        return _is_same_path(self._paths[stream][video.id], str(video.path))

    def _standing(self, video: VideoFile, streams: Sequence[str]) -> dict[str, Failure]:
        """Return the ledger's entry for each stream that this very file failed for."""
        entries = {name: self._ledger.get((spelt_out(video.id), name)) for name in streams}
        return {
            name: entry
            for name, entry in entries.items()
            if entry is not None and entry.stands and entry.size_bytes == video.size_bytes
        }

    def _known(self, stream: str, video: VideoFile, digest: str) -> VideoRecord | None:
        """Return the record of a video in a stream, by its id or else by its content.

        A copy that is itself among the wanted videos is no moved file: both get rows.
        """
        present = self._streams.get(stream)
        if present is None:
            return None
        if video.id in present:
            return present.commit(video.id).video
        twin = self._by_digest[stream].get(digest)
        return present.commit(twin).video if twin and twin not in self._wanted else None


def _paths(stream: Stream, wanted: Collection[str]) -> dict[str, str]:
    """Return where the stored ones of these videos lay, by their id."""
    if not any(video_id in stream for video_id in wanted):
        return {}
    return {one.id: one.path for one in stream.listing() if one.id in wanted}


def _is_same_path(stored: str, path: str) -> bool:
    """Tell whether two texts name one place, be one of them relative to the working folder."""
    if stored == path or is_address(stored) or is_address(path):
        return stored == path
    return os.path.abspath(stored) == os.path.abspath(path)  # noqa: PTH100 - no link is followed


def _differs(video: VideoFile, record: VideoRecord) -> str:
    """Say that the store holds other content under a video's id, and what to do."""
    if _is_same_path(record.path, str(video.path)):
        return (
            "has changed since it was extracted: its content differs from the stored one's. "
            "Extract it under another name, or into a new store."
        )
    return (
        f"is not the video that the store holds under this id, which lay at {record.path}: their "
        "contents differ. Name the folder that both are in, so that ids keep them apart, or use a "
        "new store."
    )


def _is_text(video: VideoFile) -> bool:
    """Tell whether a file's name is text: the store holds nothing else."""
    try:
        str(video.path).encode()
    except UnicodeEncodeError:
        return False
    return True
