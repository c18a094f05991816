"""Long-term anticipation on Ego4D: the next twenty actions, in their order.

Official files: fho_lta_*.json in one folder (``train.annotations.ego4d_lta``). Submission: a JSON
file with a few candidate futures per window, ``{"<clip>_<last visible action_idx>": {"verb":
[C][Z], "noun": [C][Z]}}``, scored by the edit distance of the best one.

Shapes: B batch, T rows, R rows of a sample, Z future actions, V verbs, N nouns, C candidates,
A actions of a clip, W windows, 2 start and end seconds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.ego4d_lta import LtaAction, LtaClip, LtaSource
from train.annotations.lta_submission import (
    KINDS,
    FutureShape,
    challenge_shape,
    future_violations,
    read_futures,
    write_futures,
)
from train.annotations.opening import open_future_actions
from train.answer import Answer, Future
from train.answers.long_term_anticipation import (
    FutureAnswers,
    FutureKnowledge,
    LongTermAnticipationOptions,
)
from train.answers.parts import known_until, rounded, true_segment
from train.data.row_times import ROUNDING_SECONDS, rows_completed_by
from train.decoders.futures import consensus, continuation
from train.metrics.anticipation import area_under_edit_distance, best_edit_distances
from train.task import IGNORED, LossSum, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["LongTermAnticipation", "LongTermAnticipationOptions"]


Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class LongTermAnticipation(Task[LtaSource, LongTermAnticipationOptions]):
    """Verb and noun of each of the next actions, from two linear layers behind as many norms."""

    answers_type: ClassVar[type[FutureAnswers]] = FutureAnswers

    @staticmethod
    def open(annotations: Path, options: LongTermAnticipationOptions) -> LtaSource:
        """Return clips of actions in their order, official or ours."""
        return open_future_actions(annotations)

    @cached_property
    def answers(self) -> FutureAnswers:
        """What the head says, with class names and what followed what in training."""
        taxonomy = self.source.taxonomy()
        knowledge = FutureKnowledge(
            verbs=taxonomy.verbs,
            nouns=taxonomy.nouns,
            transcripts=tuple(
                tuple((action.verb, action.noun) for action in clip.actions)
                for clip in self.source.clips("train")
            ),
        )
        return self.answers_type(knowledge, self.options)

    @property
    def main_metric(self) -> str:
        """Edit distance of all future actions: the lower, the better."""
        return f"action_ED_{self.options.num_future_actions - 1}_by_rule"

    @cached_property
    def _counts(self) -> dict[str, int]:
        taxonomy = self.source.taxonomy()
        return {"verb": len(taxonomy.verbs), "noun": len(taxonomy.nouns)}

    @property
    def _shape(self) -> FutureShape:
        options = self.options
        return FutureShape(
            candidates=options.num_sequences,
            actions=options.num_future_actions,
            classes=self._counts,
        )

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per clip, also of clips too short for a window."""
        return [
            Sample(
                video_id=clip.video_id,
                start_seconds=clip.start_seconds,
                end_seconds=clip.end_seconds,
                target=self._transcript(clip),
                clip_id=clip.clip_id,
                record_ends=tuple(action.end_seconds for action in clip.actions),
                annotated=subset != "test",
            )
            for clip in self.source.clips(subset)
        ]

    def _transcript(self, clip: LtaClip) -> "_Transcript":
        behind = [(IGNORED, IGNORED)] * self.options.num_future_actions
        pairs = [(action.verb, action.noun) for action in clip.actions]
        return _Transcript(
            clip=clip,
            starts_A=np.array([action.start_seconds for action in clip.actions]),
            ends_A=np.array([action.end_seconds for action in clip.actions]),
            padded_A2=np.array(pairs + behind, np.int64),
        )

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, Integers]:
        """Return verbs and nouns of the actions after the one that each row sees, (T, Z).

        Behind the clip's last action there is nothing to learn.
        """
        transcript = _transcript_of(sample)
        seen_T = transcript.seen(times_R2[window.start : window.stop, 1])
        places_TZ = seen_T[:, None] + 1 + np.arange(self.options.num_future_actions)
        # Rows after the last action are at the padding's first place at most.
        future_TZ2 = transcript.padded_A2[places_TZ]
        return {
            kind: window.without_context(future_TZ2[..., place].copy())
            for place, kind in enumerate(KINDS)
        }

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer | None:
        """Return the clip's actions in their order, and the future of each window that is scored.

        A window's future stands at the end of its last visible action. An answer speaks of what
        comes after its last row, which no clip shows.
        """
        if not sample.annotated:
            return None
        clip, name = _transcript_of(sample).clip, self.answers.name
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=known_until(sample),
            segments=tuple(
                true_segment(one.start_seconds, one.end_seconds, name((one.verb, one.noun)))
                for one in clip.actions
            ),
            futures=tuple(
                Future(
                    time=rounded(window.last.end_seconds),
                    actions=tuple(map(name, window.truth_Z2.tolist())),
                )
                for window in self._windows(clip)
            ),
        )

    def said(self, output: SampleOutput) -> Answer:
        """Say how the clip goes on after each window that is scored, as the submission does."""
        clip, name = _transcript_of(output.sample).clip, self.answers.name
        futures_CZ2 = self._futures(clip, output)
        futures = tuple(
            Future(time=rounded(window.last.end_seconds), actions=tuple(map(name, future_Z2)))
            for window in self._windows(clip)
            for future_Z2 in futures_CZ2[window.key].tolist()
        )
        return replace(super().said(output), futures=futures)

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the weighted cross-entropies of verbs and nouns, summed over the targets."""
        import torch

        from train.model.losses import cross_entropy_sum

        weights_Z = self.answers.weights_Z / self.answers.weights_Z.mean()
        losses = [
            (weight, cross_entropy_sum(outputs[kind][:, :, place], targets[kind][:, :, place]))
            for kind in KINDS
            for place, weight in enumerate(weights_Z.tolist())
        ]
        return LossSum(
            total=torch.stack([weight * one.total for weight, one in losses]).sum(),
            num_targets=sum(one.num_targets for _, one in losses),
        )

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write the JSON file ``path``: candidate futures of each window.

        A submission of validation or test clips is made whole, since the official evaluator knows
        no missing window: those that no row speaks for get the most frequent training actions.
        """
        futures: dict[str, Integers] = {}
        given: set[str] = set()
        subset: Subset = "val"
        for output in outputs:
            clip = _transcript_of(output.sample).clip
            given.add(clip.clip_id)
            futures |= self._futures(clip, output)
            subset = subset if output.sample.annotated else "test"
        clips = {clip.clip_id: clip for clip in self.source.clips(subset)}
        if given <= clips.keys():
            for clip_id in clips.keys() - given:
                futures |= dict.fromkeys(
                    (window.key for window in self._windows(clips[clip_id])),
                    self.answers.most_frequent,
                )
        write_futures(path, futures)

    def violations(self, predictions: Path, subset: Subset) -> Iterator[str]:
        """Say what of a submission breaks the form of Ego4D's challenge."""
        windows = [one for clip in self.source.clips(subset) for one in self._windows(clip)]
        keys = [window.key for window in windows]
        return future_violations(predictions, keys, challenge_shape(self._counts))

    def _windows(self, clip: LtaClip) -> "Iterator[_Future]":
        """Yield what follows each run of visible actions, where the clip is long enough."""
        visible, future = self.options.num_input_actions, self.options.num_future_actions
        for first in range(len(clip.actions) - visible - future + 1):
            last = clip.actions[first + visible - 1]
            following = clip.actions[first + visible : first + visible + future]
            yield _Future(
                key=f"{clip.clip_id}_{last.index}",
                last=last,
                truth_Z2=np.array([(action.verb, action.noun) for action in following]),
            )

    def _futures(self, clip: LtaClip, output: SampleOutput) -> dict[str, Integers]:
        """Decode what the latest row that ends by the end of the last visible action says."""
        logits = {kind: output.rows(kind) for kind in KINDS}
        futures = {}
        for window in self._windows(clip):
            until = np.array([window.last.end_seconds + ROUNDING_SECONDS])
            row = int(rows_completed_by(output.times_R2, until)[0])
            futures[window.key] = (
                self.answers.candidates(window.key, *(logits[kind][row] for kind in KINDS))
                if row >= 0
                else self.answers.most_frequent
            )
        return futures

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return edit distances as fractions: ``val_0_*`` of verbs, ``val_1_*`` of nouns.

        The numbers are those of Ego4D's ``lta_metrics.py``. ``action_*_by_rule`` are the same on
        (verb, noun) pairs, for which the server's code is not public. ``ED_19`` is ED@Z=20.
        """
        windows = self._val_windows()
        candidates = read_futures(predictions, [window.key for window in windows], self._shape)
        return self._distances(candidates, [window.truth_Z2 for window in windows])

    def check_scoring(self) -> None:
        """See ``train.prepare.ChecksScoring``."""
        self._val_windows()

    def _val_windows(self) -> "list[_Future]":
        windows = [one for clip in self.source.clips("val") for one in self._windows(clip)]
        if not windows:
            needed = self.options.num_input_actions + self.options.num_future_actions
            raise AnnotationError(
                f"No validation clip has {needed} actions, so there is nothing to score. Ask for "
                "fewer with the options 'num_input_actions' and 'num_future_actions'."
            )
        return windows

    def _distances(
        self, candidates_WCZ2: Sequence[Integers], truth_WZ2: Sequence[Integers]
    ) -> dict[str, float | None]:
        scores: dict[str, float | None] = {}
        for key, weights in (
            ("val_0_{}", (1, 0)),
            ("val_1_{}", (0, 1)),
            ("action_{}_by_rule", (self._counts["noun"], 1)),  # one number per pair
        ):
            distances_Z = best_edit_distances(
                [(one @ weights).tolist() for one in candidates_WCZ2],
                [(one @ weights).tolist() for one in truth_WZ2],
            )
            scores[key.format("AUED")] = area_under_edit_distance(distances_Z)
            for place, distance in enumerate(distances_Z.tolist()):
                scores[key.format(f"ED_{place}")] = distance
        return scores

    def quality(self, scores: Mapping[str, float | None]) -> float | None:
        """Return one minus the edit distance of all future actions."""
        distance = scores[self.main_metric]
        return None if distance is None else min(1.0, max(0.0, 1 - distance))

    @classmethod
    def lower_is_better(cls, metric: str) -> bool:
        """Tell so of edit distances and of the area under them, which all its numbers are."""
        return True

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of guesses that see no video.

        ``chance``: random labels. ``majority``: the most frequent training actions, each repeated.
        ``order``: the ``consensus`` decoder without scores, one answer for all windows. ``bigram``:
        what most often follows in training, again and again from the last visible action, whose
        true label it is told.

        Args:
            folder: Not used.
        """
        windows = self._val_windows()
        rng = np.random.default_rng(0)
        shape = self.options.num_sequences, self.options.num_future_actions
        verb_ZV, noun_ZN = (np.zeros((shape[1], self._counts[kind])) for kind in KINDS)
        blind = consensus(verb_ZV, noun_ZN, self.answers.order, np.zeros(shape[1]), shape[0], rng)
        guesses = {
            "chance": [
                np.stack([rng.integers(self._counts[kind], size=shape) for kind in KINDS], axis=-1)
                for _ in windows
            ],
            "majority": [self.answers.most_frequent] * len(windows),
            "order": [blind] * len(windows),
            "bigram": [
                continuation(self.answers.order, (window.last.verb, window.last.noun), shape[1])
                for window in windows
            ],
        }
        truth = [window.truth_Z2 for window in windows]
        return {name: self._distances(futures, truth) for name, futures in guesses.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Future:
    """One window of a clip."""

    key: str
    last: LtaAction
    """The last visible action."""
    truth_Z2: Integers
    """Verb and noun of the actions after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Transcript:
    """The actions of a clip as arrays."""

    clip: LtaClip
    starts_A: Floats
    ends_A: Floats
    padded_A2: Integers
    """Verb and noun, and Z times ``IGNORED`` behind the last action."""

    def seen(self, seconds_T: Floats) -> Integers:
        """Return the place of the action that is seen last at each instant, -1 for none yet.

        It is the action that goes on; of several the one that ends first, for at its end it is the
        last visible one. If none goes on, the one that ended last.
        """
        begun_TA = self.starts_A < seconds_T[:, None] - ROUNDING_SECONDS
        goes_on_TA = begun_TA & (seconds_T[:, None] <= self.ends_A + ROUNDING_SECONDS)
        ongoing_T = np.where(goes_on_TA, self.ends_A, np.inf).argmin(axis=1)
        ended_T = np.where(begun_TA, self.ends_A, -np.inf).argmax(axis=1)
        seen_T = np.where(goes_on_TA.any(axis=1), ongoing_T, ended_T)
        return np.where(begun_TA.any(axis=1), seen_T, -1)


def _transcript_of(sample: Sample) -> _Transcript:
    assert isinstance(sample.target, _Transcript)
    return sample.target
