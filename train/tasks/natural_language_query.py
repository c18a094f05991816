"""Natural-language queries on Ego4D: when in a clip the answer to a question is to be seen.

Official files: nlq_{train,val,test_unannotated}.json (``train.annotations.ego4d_clips``).
Submission: a JSON file with up to five windows per query, best first. Scores: Ego4D's
``evaluate_ego4d_nlq.py``.

Shapes: B batch, T rows of a window, P = 1 + T places: "nothing here", then the rows; N answers, 2
start and end seconds.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.ego4d_clips import ClipQuery, QueryKey, QuerySource
from train.annotations.json_file import read_json
from train.annotations.opening import open_queries
from train.annotations.query_submission import (
    Answers,
    QueryEntry,
    QuerySubmission,
    query_violations,
    write_queries,
)
from train.answer import Answer, QueryAnswer, Span
from train.answers.natural_language_query import (
    MAX_ANSWERS,
    NaturalLanguageQueryOptions,
    QueryAnswers,
    best_windows,
    question,
)
from train.answers.parts import known_until, rounded
from train.metrics.retrieval import Answer as ScoredAnswer
from train.metrics.retrieval import rank_recalls
from train.metrics.tiou import clipped_share
from train.task import (
    IGNORED,
    LossSum,
    Nothing,
    Sample,
    SampleOutput,
    Subset,
    Task,
    Tensors,
    Window,
)

__all__ = ["NaturalLanguageQuery", "NaturalLanguageQueryOptions"]

logger = logging.getLogger(__name__)

NOTHING = 0
"""Place that stands for "the answer is not in this window"; row r has place 1 + r."""
VISIBLE_SHARE = 0.5
"""A window shows the answer if at least this much of it lies inside."""
PRIOR_BINS = 10
"""Of relative start and length, for the majority baseline."""


class NaturalLanguageQuery(Task[QuerySource, NaturalLanguageQueryOptions]):
    """The rows where the answer starts and ends, pointed at by a learned token behind the text."""

    answers_type: ClassVar[type[QueryAnswers]] = QueryAnswers
    main_metric = "Rank@1 mIoU@0.3"

    @staticmethod
    def open(annotations: Path, options: NaturalLanguageQueryOptions) -> QuerySource:
        """Return queries about clips, official or ours."""
        return open_queries(annotations)

    @cached_property
    def answers(self) -> QueryAnswers:
        """What the head says; nothing of the annotations need be known."""
        return self.answers_type(Nothing(), self.options)

    @cache  # noqa: B019 - a task lives as long as its process
    def _queries(self, subset: Subset) -> Mapping[QueryKey, ClipQuery]:
        queries = {query.key: query for query in self.source.queries(subset)}
        if not queries:
            raise AnnotationError(f"{self.source.path}: no {subset} clip has a query.")
        return queries

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per query that has a text: the rows of its clip."""
        return [
            Sample(
                video_id=query.clip.video_id,
                start_seconds=query.clip.start_seconds,
                end_seconds=query.clip.end_seconds,
                target=query,
                clip_id=query.clip.clip_id,
                query=question(query.text),
                query_id=query.query_id,
                record_ends=(query.clip.start_seconds + query.end_seconds,),
                annotated=subset != "test",
            )
            for query in self._queries(subset).values()
            if query.text.strip()
        ]

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64] | NDArray[np.float32]]:
        """Return the places of the answer's first and last row, or its segment of the window.

        A window without any of the answer has place 0, one with less than half of it no target.
        Context rows can be the answer: a window speaks for all that it sees.
        """
        times_T2 = times_R2[window.start : window.stop]
        cut_12, share_1 = clipped_share(
            _bounds(_query_of(sample))[None], times_T2[0, 0], times_T2[-1, 1]
        )
        if self.options.retrieval == "segments":
            return _segment(cut_12, float(share_1[0]), times_T2[0, 0], times_T2[-1, 1])
        places = NOTHING, NOTHING
        if share_1[0] >= VISIBLE_SHARE:
            first = int(np.abs(times_T2[:, 0] - cut_12[0, 0]).argmin())
            last = int(np.abs(times_T2[:, 1] - cut_12[0, 1]).argmin())
            places = 1 + first, 1 + max(first, last)
        elif share_1[0] > 0:
            places = IGNORED, IGNORED
        return {
            name: np.array([place], np.int64)
            for name, place in zip(("start", "end"), places, strict=True)
        }

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer | None:
        """Return when the answer is to be seen, which is an instant for many official queries."""
        if not sample.annotated:
            return None
        query = _query_of(sample)
        start, end = _bounds(query)
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=known_until(sample),
            queries=(
                QueryAnswer(
                    query=query.text,
                    spans=(Span(start=rounded(start), end=rounded(end), score=1.0),),
                ),
            ),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the cross-entropy of start and end, or the set loss, of the windows that count."""
        if self.options.retrieval == "segments":
            from train.model.set_matching import set_loss_sum

            return set_loss_sum(
                outputs["classes"],
                outputs["segments"],
                targets["classes"],
                targets["segments"],
                targets["count"][:, 0],
            )
        from train.model.losses import cross_entropy_sum

        start, end = (
            cross_entropy_sum(outputs[name][:, None], targets[name]) for name in ("start", "end")
        )
        return LossSum(
            total=start.total + end.total, num_targets=start.num_targets + end.num_targets
        )

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write the JSON file ``path``: up to five windows per query, best first.

        A submission of validation or test queries is made whole, since the official evaluator takes
        the mean over what is there: queries without outputs (or text) get the whole clip.
        """
        results: dict[QueryKey, Answers] = {}
        subset: Subset = "val"
        for output in outputs:
            results[_query_of(output.sample).key] = _answers(output)
            subset = subset if output.sample.annotated else "test"
        queries = self._queries(subset)
        if results.keys() <= queries.keys():
            results = {
                key: results.get(key, [[0.0, query.clip.duration_seconds]])
                for key, query in queries.items()
            }
        write_queries(path, results)

    def violations(self, predictions: Path, subset: Subset) -> Iterator[str]:
        """Say what of a submission breaks the form of Ego4D's challenge."""
        return query_violations(predictions, self._queries(subset))

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return recall at rank 1, 3 and 5 for three overlaps, and the mean overlap, in percent.

        The means run over the entries of the file, as in the official evaluator; a warning says
        how many queries have none.
        """
        queries = self._queries("val")
        entries = read_json(predictions, QuerySubmission).results
        if not entries:
            raise AnnotationError(f"{predictions}: field 'results' is empty.")
        answers = [
            _scored(predictions, number, entry, queries) for number, entry in enumerate(entries)
        ]
        missing = len(queries.keys() - {entry.key for entry in entries})
        if missing:
            logger.warning(
                "%s: %d of %d queries have no entry; the scores are means over the others",
                predictions,
                missing,
                len(queries),
            )
        scores = rank_recalls(answers)
        return {key: None if np.isnan(value) else value for key, value in scores.items()}

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of random windows, and of the commonest ones of the training queries.

        Args:
            folder: Gets the submissions ``chance.json`` and ``majority.json``.
        """
        rng = np.random.default_rng(0)
        prior_N2 = self._common_windows()
        queries = self._queries("val")
        submissions = {
            "chance": {
                key: _within(np.sort(rng.random((MAX_ANSWERS, 2)), axis=1), query)
                for key, query in queries.items()
            },
            "majority": {key: _within(prior_N2, query) for key, query in queries.items()},
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name, results in submissions.items():
            write_queries(folder / f"{name}.json", results)
        return {name: self.score(folder / f"{name}.json") for name in submissions}

    def _common_windows(self) -> NDArray[np.float64]:
        """Return the mean window of the most frequent bins of start and length, in clips of 1."""
        windows_N2 = np.array(
            [
                np.array([query.start_seconds, query.end_seconds]) / query.clip.duration_seconds
                for query in self._queries("train").values()
            ]
        )
        starts_and_lengths_N2 = np.stack(
            [windows_N2[:, 0], windows_N2[:, 1] - windows_N2[:, 0]], axis=1
        )
        bins, places_N, counts = np.unique(
            (starts_and_lengths_N2 * PRIOR_BINS).astype(np.int64),
            axis=0,
            return_inverse=True,
            return_counts=True,
        )
        del bins
        best = np.argsort(-counts, kind="stable")[:MAX_ANSWERS]
        return np.array([windows_N2[places_N == one].mean(axis=0) for one in best])


def _query_of(sample: Sample) -> ClipQuery:
    assert isinstance(sample.target, ClipQuery), "the sample is another task's"
    return sample.target


def _bounds(query: ClipQuery) -> NDArray[np.float64]:
    """Return start and end second of the answer in the video; the end is not before the start."""
    seconds_2 = np.array([query.start_seconds, max(query.start_seconds, query.end_seconds)])
    bounds_2: NDArray[np.float64] = seconds_2 + query.clip.start_seconds
    return bounds_2


def _segment(
    cut_12: NDArray[np.float64], share: float, start: float, end: float
) -> dict[str, NDArray[np.int64] | NDArray[np.float32]]:
    """Return the answer as a set of one segment, or of none, in fractions of the window."""
    is_seen = np.array([share >= VISIBLE_SHARE])
    count = int(is_seen[0]) if is_seen[0] or share == 0 else IGNORED
    return {
        "classes": np.zeros(int(is_seen[0]), np.int64),
        "segments": ((cut_12[is_seen] - start) / (end - start)).astype(np.float32),
        "count": np.array([count], np.int64),
    }


def _answers(output: SampleOutput) -> Answers:
    """Return the best windows over all windows of the clip, in seconds of the clip."""
    clip = _query_of(output.sample).clip
    seconds_N2, _ = best_windows(output, clip.start_seconds, clip.duration_seconds)
    answers: list[list[float]] = seconds_N2.tolist()
    return answers


def _within(windows_N2: NDArray[np.float64], query: ClipQuery) -> Answers:
    """Turn fractions of a clip into seconds."""
    answers: list[list[float]] = (windows_N2 * query.clip.duration_seconds).tolist()
    return answers


def _scored(
    path: Path, number: int, entry: QueryEntry, queries: Mapping[QueryKey, ClipQuery]
) -> ScoredAnswer:
    query = queries.get(entry.key)
    if query is None:
        raise AnnotationError(
            f"{path}, record results.{number}: clip_uid, annotation_uid, query_idx are "
            f"{entry.key}, expected those of one of the {len(queries)} validation queries."
        )
    return ScoredAnswer(
        predicted_P2=np.array([window[:2] for window in entry.predicted_times]),
        truth_2=np.array([query.start_seconds, query.end_seconds]),
    )
