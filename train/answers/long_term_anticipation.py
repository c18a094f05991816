"""Long-term anticipation: a few ways in which the video may go on after its last row.

Shapes: R rows of a video, Z future actions, V verbs, N nouns, C candidates, 2 verb and noun.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cache_schema.parsing import record
from train.answer import Answer, Future
from train.answers.parts import duration
from train.challenges import EGO4D_LONG_TERM_ANTICIPATION
from train.decoders.futures import (
    PairOrder,
    consensus,
    drawn,
    measure_pair_order,
    most_probable,
)
from train.task import Answers, HeadContext, SampleOutput, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = ["FutureAnswers", "FutureKnowledge", "LongTermAnticipationOptions"]

ANY_VIDEO = ""
"""Key of the draws for a video: by another name it has the same futures."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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
        for name, least in (
            ("num_input_actions", 1),
            ("num_future_actions", 2),
            ("num_sequences", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount is {self.discount}, must be in (0, 1]")


@record
class FutureKnowledge:
    """Names of verbs and nouns, and what followed what in training."""

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    transcripts: tuple[tuple[tuple[int, int], ...], ...] = ()
    """Verb and noun of each action of each training clip, in their order."""


class FutureAnswers(Answers[FutureKnowledge, LongTermAnticipationOptions]):
    """Verb and noun of each of the next actions, from two linear layers behind as many norms."""

    facts = TaskFacts(
        name="long_term_anticipation",
        submission=".json",
        online=True,
        class_outputs=True,
        challenge=EGO4D_LONG_TERM_ANTICIPATION,
    )
    knowledge_type = FutureKnowledge
    options_type = LongTermAnticipationOptions

    def labels(self) -> dict[str, Sequence[str]]:
        """Return the names of verbs and nouns."""
        return {"verb": self.knowledge.verbs, "noun": self.knowledge.nouns}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return one normalisation per future action, and a linear layer for verbs and nouns."""
        from train.model.heads.future import FutureHeads

        counts = {kind: len(names) for kind, names in self.labels().items()}
        return FutureHeads(context.width, self.options.num_future_actions, counts)

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return the candidate futures that the last row foretells."""
        (output,) = outputs
        logits = (output.rows(kind)[-1] for kind in ("verb", "noun"))
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=duration(output),
            futures=tuple(
                Future(time=duration(output), actions=tuple(map(self.name, future_Z2.tolist())))
                for future_Z2 in self.candidates(ANY_VIDEO, *logits)
            ),
        )

    def name(self, pair: Sequence[int]) -> str:
        """Return the words of an action, given as verb and noun."""
        verb, noun = pair
        return f"{self.knowledge.verbs[verb]} {self.knowledge.nouns[noun]}".rstrip()

    def candidates(self, key: str, verb_ZV: Floats, noun_ZN: Floats) -> Integers:
        """Return candidate futures (C, Z, 2); draws depend on the key only."""
        rng = np.random.default_rng(crc32(key.encode()))
        count = self.options.num_sequences
        if self.options.decoder == "argmax":
            return np.repeat(most_probable(verb_ZV, noun_ZN), count, axis=0)
        if self.options.decoder == "sample":
            return drawn(verb_ZV, noun_ZN, count, rng)
        return consensus(verb_ZV, noun_ZN, self.order, self.weights_Z, count, rng)

    @property
    def weights_Z(self) -> Floats:
        """Weight of each future action."""
        return np.power(self.options.discount, np.arange(self.options.num_future_actions))

    @cached_property
    def order(self) -> PairOrder:
        """How training actions follow one another."""
        return measure_pair_order(
            [np.array(pairs, np.int64).reshape(-1, 2) for pairs in self.knowledge.transcripts]
        )

    @cached_property
    def most_frequent(self) -> Integers:
        """Candidate c repeats the training action of rank c, (C, Z, 2)."""
        actions = Counter(pair for pairs in self.knowledge.transcripts for pair in pairs)
        ranked = [pair for pair, _ in actions.most_common(self.options.num_sequences)]
        ranked += ranked[:1] * (self.options.num_sequences - len(ranked))
        return np.repeat(np.array(ranked)[:, None], self.options.num_future_actions, axis=1)
