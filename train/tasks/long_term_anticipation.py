"""Long-term anticipation on Ego4D: the next twenty actions, in their order.

Official files: fho_lta_*.json in one folder (``train.annotations.ego4d_lta``). Submission: a JSON
file with a few candidate futures per window, ``{"<clip>_<last visible action_idx>": {"verb":
[C][Z], "noun": [C][Z]}}``, scored by the edit distance of the best one.

Shapes: B batch, T rows, R rows of a sample, Z future actions, V verbs, N nouns, C candidates,
A actions of a clip, W windows, 2 start and end seconds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.parsing import record
from train.annotations.ego4d_lta import LtaAction, LtaClip
from train.annotations.lta_submission import KINDS, FutureShape, read_futures, write_futures
from train.annotations.opening import open_future_actions
from train.data.row_times import ROUNDING_SECONDS, rows_completed_by
from train.decoders.futures import (
    PairOrder,
    consensus,
    continuation,
    drawn,
    measure_pair_order,
    most_probable,
)
from train.metrics.anticipation import area_under_edit_distance, best_edit_distances
from train.task import (
    IGNORED,
    HeadContext,
    LossSum,
    QueryPlace,
    Sample,
    SampleOutput,
    Subset,
    Window,
    without_context,
)

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import Tensor, nn

__all__ = ["LongTermAnticipation", "LongTermAnticipationOptions"]


Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# --- options ------------------------------------------------------------------------------------


@record
class LongTermAnticipationOptions:
    """What can be chosen for this task."""

    num_input_actions: int = 4
    """How many actions a window shows before the future begins; tells which windows are scored."""
    num_future_actions: int = 20
    """Z."""
    num_sequences: int = 5
    """C, candidate futures per window."""
    discount: float = 0.8
    """Weight of each future action relative to the one before it, in the loss and, for
    ``consensus``, in decoding: distant actions can be learned by heart, not foretold."""
    decoder: Literal["argmax", "sample", "consensus"] = "consensus"
    """How scores become candidates. ``argmax`` takes the best class of each step and repeats that
    future; ``sample`` draws each step by itself, as Ego4D's baseline does; ``consensus`` draws
    futures in which training actions follow one another as they do in training, and chooses those
    nearest to all (``train.decoders.futures``)."""

    def __post_init__(self) -> None:
        lowest = {"num_input_actions": 1, "num_future_actions": 2, "num_sequences": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount is {self.discount}, must be in (0, 1]")


class LongTermAnticipation:
    """Verb and noun of each of the next actions, from two linear layers behind as many norms."""

    name: ClassVar[str] = "long_term_anticipation"
    submission: ClassVar[str] = ".json"
    online: ClassVar[bool] = True
    query_place: ClassVar[QueryPlace] = "none"
    class_outputs: ClassVar[bool] = True
    options_type: ClassVar[type] = LongTermAnticipationOptions
    appended_tokens: ClassVar[int] = 0

    def __init__(self, annotations: Path, options: LongTermAnticipationOptions) -> None:
        self._source = open_future_actions(annotations)
        self._options = options

    @property
    def main_metric(self) -> str:
        """Edit distance of all future actions: the lower, the better."""
        return f"action_ED_{self._options.num_future_actions - 1}_by_rule"

    @cached_property
    def _counts(self) -> dict[str, int]:
        taxonomy = self._source.taxonomy()
        return {"verb": len(taxonomy.verbs), "noun": len(taxonomy.nouns)}

    @property
    def _shape(self) -> FutureShape:
        options = self._options
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
                record_ends=tuple(action.end_seconds for action in clip.actions),
            )
            for clip in self._source.clips(subset)
        ]

    def _transcript(self, clip: LtaClip) -> "_Transcript":
        behind = [(IGNORED, IGNORED)] * self._options.num_future_actions
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
        places_TZ = seen_T[:, None] + 1 + np.arange(self._options.num_future_actions)
        # Rows after the last action are at the padding's first place at most.
        future_TZ2 = transcript.padded_A2[places_TZ]
        return {
            kind: without_context(future_TZ2[..., place].copy(), window)
            for place, kind in enumerate(KINDS)
        }

    # --- head -----------------------------------------------------------------------------------

    def labels(self) -> dict[str, Sequence[str]]:
        """Return the names of verbs and nouns."""
        taxonomy = self._source.taxonomy()
        return {"verb": taxonomy.verbs, "noun": taxonomy.nouns}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return one normalisation per future action, and a linear layer for verbs and nouns."""
        from train.model.heads.future import FutureHeads

        return FutureHeads(context.width, self._options.num_future_actions, self._counts)

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: "Mapping[str, Tensor]", targets: "Mapping[str, Tensor]") -> LossSum:
        """Return the weighted cross-entropies of verbs and nouns, summed over the targets."""
        import torch

        from train.model.losses import cross_entropy_sum

        weights_Z = self._weights_Z / self._weights_Z.mean()
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

        A submission of validation clips is made whole, since the official evaluator knows no
        missing window: those that no row speaks for get the most frequent training actions.
        """
        futures: dict[str, Integers] = {}
        given: set[str] = set()
        for output in outputs:
            clip = _transcript_of(output.sample).clip
            given.add(clip.clip_id)
            futures |= self._futures(clip, output)
        val = {clip.clip_id: clip for clip in self._source.clips("val")}
        if given <= val.keys():
            for clip_id in val.keys() - given:
                futures |= dict.fromkeys(
                    (window.key for window in self._windows(val[clip_id])), self._most_frequent
                )
        write_futures(path, futures)

    def _windows(self, clip: LtaClip) -> "Iterator[_Future]":
        """Yield what follows each run of visible actions, where the clip is long enough."""
        visible, future = self._options.num_input_actions, self._options.num_future_actions
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
                self._decode(window.key, *(logits[kind][row] for kind in KINDS))
                if row >= 0
                else self._most_frequent
            )
        return futures

    @cached_property
    def _train_pairs(self) -> list[Integers]:
        """Verb and noun of every action of each training clip."""
        return [
            np.array([(action.verb, action.noun) for action in clip.actions], np.int64)
            for clip in self._source.clips("train")
        ]

    @cached_property
    def _most_frequent(self) -> Integers:
        """Candidate c repeats the training action of rank c, (C, Z, 2)."""
        actions = Counter(tuple(pair) for pairs in self._train_pairs for pair in pairs.tolist())
        ranked = [pair for pair, _ in actions.most_common(self._options.num_sequences)]
        ranked += ranked[:1] * (self._options.num_sequences - len(ranked))
        return np.repeat(np.array(ranked)[:, None], self._options.num_future_actions, axis=1)

    @cached_property
    def _order(self) -> PairOrder:
        return measure_pair_order(self._train_pairs)

    def _decode(self, key: str, verb_ZV: Floats, noun_ZN: Floats) -> Integers:
        """Return candidate futures (C, Z, 2); draws depend on the window's key only."""
        rng = np.random.default_rng(crc32(key.encode()))
        count = self._options.num_sequences
        if self._options.decoder == "argmax":
            return np.repeat(most_probable(verb_ZV, noun_ZN), count, axis=0)
        if self._options.decoder == "sample":
            return drawn(verb_ZV, noun_ZN, count, rng)
        return consensus(verb_ZV, noun_ZN, self._order, self._weights_Z, count, rng)

    @property
    def _weights_Z(self) -> Floats:
        """Weight of each future action."""
        return np.power(self._options.discount, np.arange(self._options.num_future_actions))

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return edit distances as fractions: ``val_0_*`` of verbs, ``val_1_*`` of nouns.

        The numbers are those of Ego4D's ``lta_metrics.py``. ``action_*_by_rule`` are the same on
        (verb, noun) pairs, for which the server's code is not public. ``ED_19`` is ED@Z=20.
        """
        windows = self._val_windows()
        candidates = read_futures(predictions, [window.key for window in windows], self._shape)
        return self._distances(candidates, [window.truth_Z2 for window in windows])

    def _val_windows(self) -> "list[_Future]":
        windows = [one for clip in self._source.clips("val") for one in self._windows(clip)]
        if not windows:
            needed = self._options.num_input_actions + self._options.num_future_actions
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
        shape = self._options.num_sequences, self._options.num_future_actions
        verb_ZV, noun_ZN = (np.zeros((shape[1], self._counts[kind])) for kind in KINDS)
        blind = consensus(verb_ZV, noun_ZN, self._order, np.zeros(shape[1]), shape[0], rng)
        guesses = {
            "chance": [
                np.stack([rng.integers(self._counts[kind], size=shape) for kind in KINDS], axis=-1)
                for _ in windows
            ],
            "majority": [self._most_frequent] * len(windows),
            "order": [blind] * len(windows),
            "bigram": [
                continuation(self._order, (window.last.verb, window.last.noun), shape[1])
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
