"""Action anticipation on EPIC-KITCHENS-100: what will begin in a second.

Official files: the EPIC_100 csv files in one folder (``train.annotations.epic``). Submission: the
challenge's JSON file (``train.annotations.anticipation_submission``), scored by class-mean top-5
recall of verb, noun and action.

Shapes: B batch, T rows, R rows of a sample, F future steps, K action classes, V verbs, N nouns,
S segments, A listed actions, 2 start and end seconds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from train.annotations.anticipation_submission import (
    LEVELS,
    AnticipationScores,
    ClassCounts,
    read_submission,
    submission_violations,
    write_submission,
)
from train.annotations.epic import Action, EpicFolder, NarratedSegment, VerbNoun, by_video
from train.annotations.opening import open_actions
from train.annotations.video_sources import VideoActions
from train.answer import Answer
from train.answers.action_anticipation import (
    ANTICIPATION_SECONDS,
    ActionAnticipationOptions,
    AnticipationAnswers,
    AnticipationKnowledge,
)
from train.answers.parts import known_until, true_segment
from train.data.row_times import ROUNDING_SECONDS, rows_completed_by
from train.metrics.anticipation import composed_actions, listed_hits
from train.metrics.framewise import class_mean_recall, top_k_hits
from train.task import IGNORED, LossSum, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["ActionAnticipation", "ActionAnticipationOptions"]

LISTED_ACTIONS = 100
"""How many of the best actions a submission lists."""

Floats = NDArray[np.float64]


class ActionAnticipation(Task[EpicFolder | VideoActions, ActionAnticipationOptions]):
    """The action at each of the next seconds, from one linear layer behind as many norms."""

    answers_type: ClassVar[type[AnticipationAnswers]] = AnticipationAnswers
    main_metric = "overall_action_mt5r"

    @staticmethod
    def open(annotations: Path, options: ActionAnticipationOptions) -> EpicFolder | VideoActions:
        """Return actions by verb and noun, official or ours."""
        return open_actions(annotations)

    @cached_property
    def answers(self) -> AnticipationAnswers:
        """What the head says, with the names of the actions."""
        knowledge = AnticipationKnowledge(class_names=tuple(self.source.action_names()))
        return self.answers_type(knowledge, self.options)

    @cached_property
    def _classes(self) -> list[VerbNoun]:
        return self.source.action_classes()

    @cached_property
    def _columns(self) -> dict[VerbNoun, int]:
        return {pair: column for column, pair in enumerate(self._classes)}

    @cached_property
    def _counts(self) -> ClassCounts:
        options, source = self.options, self.source
        listed = LISTED_ACTIONS
        if source.knows_action_classes():
            listed = min(listed, len(self._classes))
        return ClassCounts(
            verbs=options.verb_count or source.count_verbs(),
            nouns=options.noun_count or source.count_nouns(),
            actions=options.action_count or listed,
        )

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per video with an action; its target is when which action goes on."""
        durations = self.source.durations()
        if subset == "test":
            unknown = by_video(self.source.segments("test"))
            return [
                _sample(*one, self._columns, durations, annotated=False) for one in unknown.items()
            ]
        known = self.source.classified_actions(subset)
        return [
            _sample(*one, self._columns, durations, annotated=True)
            for one in known.items()
            if one[1]
        ]

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64]]:
        """Return what goes on 1, 2, ... seconds after the last instant a row is used for, (T, F).

        Or after its own end, where ``counts_from`` says so. A row is used until the next one has
        ended, and an action that begins a second later is to be foretold by it. Hence of actions at
        once the one counts that began last.
        """
        is_literal = self.options.counts_from == "row"
        until_R = times_R2[:, 1] if is_literal else _used_until(times_R2)
        until_T = until_R[window.start : window.stop] - ROUNDING_SECONDS
        seconds_TF = until_T[:, None] + ANTICIPATION_SECONDS + np.arange(self.options.steps)
        columns_TF = _actions_of(sample).ongoing(seconds_TF)
        return {"action": window.without_context(columns_TF)}

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer | None:
        """Return the annotated actions, also those at once, by start: what was to be foretold."""
        if not sample.annotated:
            return None
        actions, names = _actions_of(sample), self.answers.knowledge.class_names
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=known_until(sample),
            segments=tuple(
                true_segment(start, end, names[column])
                for start, end, column in zip(
                    actions.starts_S, actions.ends_S, actions.columns_S, strict=True
                )
            ),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the cross-entropy of all steps, summed over the targets."""
        from train.model.losses import cross_entropy_sum

        return cross_entropy_sum(outputs["action"].flatten(1, 2), targets["action"].flatten(1, 2))

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write the JSON file ``path``: what each segment's last visible row says about it.

        A submission of validation or test videos is made whole, since the official evaluator
        refuses another one: segments of videos without outputs get uniform scores.
        """
        levels = {name: getattr(self.options, name) for name in LEVELS}
        write_submission(path, self._parts(outputs), levels)

    def violations(self, predictions: Path, subset: Subset) -> Iterator[str]:
        """Say what of a submission C3's evaluator would refuse."""
        ids = [segment.narration_id for segment in self.source.segments(subset)]
        return submission_violations(predictions, ids, self._counts)

    def _parts(
        self, outputs: Iterable[SampleOutput]
    ) -> Iterator[tuple[Sequence[str], AnticipationScores]]:
        given: set[str] = set()
        subset: Subset = "val"
        for output in outputs:
            actions = _actions_of(output.sample)
            yield actions.narration_ids, self._scores(self._probabilities(actions, output))
            given.add(output.sample.video_id)
            subset = subset if output.sample.annotated else "test"
        videos = {sample.video_id: _actions_of(sample) for sample in self.samples(subset)}
        if given <= videos.keys():
            for video_id in videos.keys() - given:
                ids = videos[video_id].narration_ids
                uniform = np.full((len(ids), len(self._classes)), 1 / len(self._classes))
                yield ids, self._scores(uniform)

    def _probabilities(self, actions: "_VideoActions", output: SampleOutput) -> Floats:
        """Give each segment what the latest row that ends a second before its start says, (S, K).

        Segments that start too early for any row get uniform scores.
        """
        seen_until_S = actions.starts_S - ANTICIPATION_SECONDS + ROUNDING_SECONDS
        rows_S = rows_completed_by(output.times_R2, seen_until_S)
        logits_SK = output.rows("action")[rows_S, 0].astype(np.float64)
        probabilities_SK: Floats = softmax(logits_SK, axis=1)
        probabilities_SK[rows_S < 0] = 1 / len(self._classes)
        return probabilities_SK

    def _scores(self, probabilities_SK: Floats) -> AnticipationScores:
        """List the best actions; a verb's or noun's probability is the sum of its actions'."""
        best_SA = np.argsort(-probabilities_SK, axis=1, kind="stable")[:, : self._counts.actions]
        verbs_K, nouns_K = np.array(self._classes, np.int64).T
        verb_SV, noun_SN = (
            probabilities_SK @ np.eye(count)[ids_K]
            for ids_K, count in ((verbs_K, self._counts.verbs), (nouns_K, self._counts.nouns))
        )
        return AnticipationScores(
            verb_SV=verb_SV,
            noun_SN=noun_SN,
            listed_SA=(verbs_K * self._counts.nouns + nouns_K)[best_SA],
            action_SA=np.take_along_axis(probabilities_SK, best_SA, axis=1),
        )

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return the class-mean top-5 recalls of C3's evaluator, in percent."""
        ids = [action.narration_id for action in self._truth]
        return self._recalls(read_submission(predictions, ids, self._counts))

    @cached_property
    def _truth(self) -> list[Action]:
        return self.source.actions("val")

    def _recalls(self, scores: AnticipationScores) -> dict[str, float | None]:
        """Score predictions of the validation segments, in the order of the annotations."""
        verbs_S, nouns_S = np.array([action.verb_noun for action in self._truth], np.int64).T
        actions_S = verbs_S * self._counts.nouns + nouns_S
        found = {
            "verb": (top_k_hits(scores.verb_SV, verbs_S), verbs_S),
            "noun": (top_k_hits(scores.noun_SN, nouns_S), nouns_S),
            "action": (_action_hits(scores, actions_S), actions_S),
        }
        unseen = self.source.unseen_participants()
        unseen_S = np.array([action.participant_id in unseen for action in self._truth])
        tail_verb_S = np.isin(verbs_S, list(self.source.tail_verbs()))
        tail_noun_S = np.isin(nouns_S, list(self.source.tail_nouns()))
        everywhere = dict.fromkeys(found, np.ones(len(self._truth), bool))
        tail = {"verb": tail_verb_S, "noun": tail_noun_S, "action": tail_verb_S | tail_noun_S}
        parts = {"overall": everywhere, "unseen": dict.fromkeys(found, unseen_S), "tail": tail}
        return {
            f"{part}_{kind}_mt5r": class_mean_recall(hits_S[counts[kind]], labels_S[counts[kind]])
            for part, counts in parts.items()
            for kind, (hits_S, labels_S) in found.items()
        }

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of guesses that see no video.

        ``chance``: random numbers. ``majority``: the training frequency of each class. ``bigram``:
        what most often follows the last action begun by then, whose true label it is told.

        Args:
            folder: Not used.
        """
        rng = np.random.default_rng(0)
        chance = self._scores(rng.random((len(self._truth), len(self._classes))))
        chance = replace(
            chance,
            verb_SV=rng.random(chance.verb_SV.shape),
            noun_SN=rng.random(chance.noun_SN.shape),
        )
        follows, columns = self._pairs("train")
        prior_K = np.bincount(columns, minlength=len(self._classes)) / len(columns)
        counts_KK = np.zeros((len(self._classes) + 1, len(self._classes)))
        np.add.at(counts_KK, (follows, columns), 1)
        last_S, _ = self._pairs("val")
        majority = np.broadcast_to(prior_K, (len(last_S), len(prior_K)))
        return {
            "chance": self._recalls(chance),
            "majority": self._recalls(self._scores(majority)),
            "bigram": self._recalls(self._scores(counts_KK[last_S] + majority)),
        }

    def _pairs(self, subset: Subset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return of each segment the class last begun a second before it (K: none), and its own."""
        videos = [_actions_of(sample) for sample in self.samples(subset)]
        last, own = [], []
        for actions in videos:
            before_S = np.searchsorted(
                actions.starts_S, actions.starts_S - ANTICIPATION_SECONDS, side="right"
            )
            padded = np.append(len(self._classes), actions.columns_S)
            last.append(padded[before_S])
            own.append(actions.columns_S)
        return np.concatenate(last), np.concatenate(own)


@dataclass(frozen=True, kw_only=True, slots=True)
class _VideoActions:
    """The actions of one video, by start."""

    narration_ids: tuple[str, ...]
    starts_S: Floats
    ends_S: Floats
    columns_S: NDArray[np.int64]
    """``IGNORED`` where nobody has annotated them."""
    borders_M: Floats
    """Instants at which something begins or ends, ascending; the first is before all time."""
    ongoing_M: NDArray[np.int64]
    """What goes on from each border to the next one, ``IGNORED`` where nothing does."""

    def ongoing(self, seconds: Floats) -> NDArray[np.int64]:
        """Return the class of the action that goes on at each instant."""
        return self.ongoing_M[np.searchsorted(self.borders_M, seconds, side="right") - 1]


def _sample(
    video_id: str,
    segments: Sequence[NarratedSegment],
    columns: Mapping[VerbNoun, int],
    durations: Mapping[str, float],
    *,
    annotated: bool,
) -> Sample:
    return Sample(
        video_id=video_id,
        start_seconds=0.0,
        end_seconds=math.inf,
        target=_video_actions(segments, columns),
        duration_seconds=durations.get(video_id),
        record_ends=tuple(segment.end_seconds for segment in segments),
        annotated=annotated,
    )


def _video_actions(
    actions: Sequence[NarratedSegment], columns: Mapping[VerbNoun, int]
) -> _VideoActions:
    """Say what goes on when; of actions at once the one that began last, then the lowest class."""
    starts_S = np.array([action.start_seconds for action in actions])
    ends_S = np.array([action.end_seconds for action in actions])
    columns_S = np.array(
        [columns[one.verb_noun] if isinstance(one, Action) else IGNORED for one in actions],
        np.int64,
    )
    borders_M = np.unique(np.concatenate([[-math.inf], starts_S, ends_S]))
    ongoing_M = np.full(len(borders_M), IGNORED)
    for place in np.lexsort((-columns_S, starts_S)):
        first, last = np.searchsorted(borders_M, (starts_S[place], ends_S[place]))
        ongoing_M[first:last] = columns_S[place]
    return _VideoActions(
        narration_ids=tuple(action.narration_id for action in actions),
        starts_S=starts_S,
        ends_S=ends_S,
        columns_S=columns_S,
        borders_M=borders_M,
        ongoing_M=ongoing_M,
    )


def _action_hits(scores: AnticipationScores, actions_S: NDArray[np.int64]) -> NDArray[np.bool_]:
    if scores.listed_SA is None or scores.action_SA is None:
        return listed_hits(*composed_actions(scores.verb_SV, scores.noun_SN), actions_S)
    return listed_hits(scores.listed_SA, scores.action_SA, actions_S)


def _used_until(times_R2: Floats) -> Floats:
    """Return until when each row is the latest one that has ended, (R,): the next one's end."""
    ends_R = times_R2[:, 1]
    if len(ends_R) == 1:
        return ends_R + (ends_R - times_R2[:, 0])
    return np.append(ends_R[1:], 2 * ends_R[-1] - ends_R[-2])


def _actions_of(sample: Sample) -> _VideoActions:
    assert isinstance(sample.target, _VideoActions)
    return sample.target
