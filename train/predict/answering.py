"""Videos that nobody has labelled: rows of a stream -> what the runs say about each video."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cache_schema.errors import ConfigError
from cache_schema.stream import Stream
from train.answer import Answer
from train.predict.ensemble import Ensemble
from train.task import SampleOutput, TaskFacts, whole_video

__all__ = ["Answered", "answer_videos", "check_queries", "named_videos"]

VIDEOS_AT_ONCE = 64
"""Whose row times are in memory; windows of videos of about one length share a batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """One video: what is said, and what the head's outputs were before decoding."""

    answer: Answer
    outputs: Sequence[SampleOutput]
    """One, or one for each query."""


def answer_videos(
    ensemble: Ensemble,
    streams: Sequence[Stream],
    video_ids: Sequence[str],
    queries: Sequence[str] = (),
) -> Iterator[Answered]:
    """Say something about each video; of every ``VIDEOS_AT_ONCE`` the longest comes first.

    Args:
        ensemble: One run or several.
        streams: For each run the stream with features of its recipe.
        video_ids: As the streams name them.
        queries: Texts, for tasks that have queries.

    Raises:
        ConfigError: if the task needs queries and there are none, or the other way round.
        StoreError: if a stream does not hold a video.
    """
    check_queries(ensemble.facts, queries)
    for stream in streams:
        for video_id in video_ids:
            stream.commit(video_id)  # says what there is instead
    ids = iter(video_ids)
    while some := list(islice(ids, VIDEOS_AT_ONCE)):
        yield from _answer(ensemble, streams, some, queries)


def named_videos(stream: Stream, names: Iterable[str]) -> list[str]:
    """Return the ids that names are short for, such as the last part of one; others as they are."""
    return [stream.resolve(name) or name for name in names]


def check_queries(facts: TaskFacts, queries: Sequence[str]) -> None:
    """Raise unless there are queries where the task has them, and none where it has not.

    Raises:
        ConfigError: naming the task.
    """
    has_query = facts.query_place != "none"
    if has_query and not queries:
        raise ConfigError(f"{facts.name} answers queries: give one or more with --query TEXT.")
    if queries and not has_query:
        raise ConfigError(f"{facts.name} has no queries; leave --query out.")
    if any(not query.strip() for query in queries):
        raise ConfigError("A query is empty. Leave it out, or say what is asked.")


def _answer(
    ensemble: Ensemble, streams: Sequence[Stream], video_ids: Sequence[str], queries: Sequence[str]
) -> Iterator[Answered]:
    facts = ensemble.facts
    texts = [facts.query_text(query) for query in queries] or [""]
    said = ensemble.outputs(
        [whole_video(video_id, text) for video_id in video_ids for text in texts],
        streams,
        [(run.answers.inputs, None) for run in ensemble.runs],
        allow_missing=0,
    )
    outputs = iter(said.outputs)
    while own := list(islice(outputs, len(texts))):
        # Samples of one length keep their order, so those of one video stay together.
        assert len({output.sample.video_id for output in own}) == 1
        yield Answered(answer=ensemble.answers.answer(own, queries), outputs=own)
