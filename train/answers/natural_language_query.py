"""Natural-language queries: the stretches of a clip that answer a question, best first.

Shapes: T rows of a window, N answers, 2 start and end seconds.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import log_softmax

from cache_schema.parsing import record
from train.answer import Answer, QueryAnswer, Span
from train.answers.parts import duration, in_seconds, rounded
from train.challenges import EGO4D_NATURAL_LANGUAGE_QUERIES
from train.decoders.nms import nms
from train.task import Answers, HeadContext, Nothing, SampleOutput, TaskFacts, WindowOutput

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = [
    "MAX_ANSWERS",
    "NaturalLanguageQueryOptions",
    "QueryAnswers",
    "best_windows",
    "question",
]

MAX_ANSWERS = 5
"""The metric looks at no more."""
NMS_TIOU = 0.5
"""No two answers overlap by more: the metric gives nothing for a second one on the same spot."""
CANDIDATE_ROWS = 32
"""Best starts and ends of a window that are paired with one another."""

Floats = NDArray[np.float64]


def question(text: str) -> str:
    """Return a query as the LLM reads it: lower case, one question mark at the end.

    Examples:
        >>> question(" Where did I put the Pan??")
        'where did i put the pan?'
    """
    return text.strip().lower().rstrip("? ") + "?"


@record
class NaturalLanguageQueryOptions:
    """What can be chosen for this task."""

    memory_tokens: Literal["none", "one"] = "one"
    """A learned token behind the text whose state answers; with ``none`` it is the state of the
    text's last token."""
    retrieval: Literal["pointing", "segments"] = "pointing"
    """``pointing`` compares the state with those of the rows; ``segments`` names boundaries as for
    moment queries, which is the paper's head."""
    num_segments: Annotated[int, Field(ge=1)] = MAX_ANSWERS
    """Most segments that a window can name with ``segments``."""


class QueryAnswers(Answers[Nothing, NaturalLanguageQueryOptions]):
    """The rows where the answer starts and ends, pointed at by a learned token behind the text."""

    facts = TaskFacts(
        name="natural_language_query",
        submission=".json",
        query_place="after",
        query_text=question,
        entries="places",
        challenge=EGO4D_NATURAL_LANGUAGE_QUERIES,
    )
    options_type = NaturalLanguageQueryOptions

    @property
    def appended_tokens(self) -> int:
        """The one that answers, if there is one."""
        return int(self.options.memory_tokens == "one")

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Return nothing: no output is about classes."""
        return {}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return what points from the final state to rows, or names segments by it."""
        if self.options.retrieval == "pointing":
            from train.model.heads.pointer import PointerHead

            return PointerHead(context.width)
        from train.model.heads.moments import MomentHead

        return MomentHead(context.width, self.options.num_segments, num_classes=1)

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return the best spans of each query over the whole video."""
        return Answer(
            video=outputs[0].sample.video_id,
            task=self.facts.name,
            duration=duration(outputs[0]),
            queries=tuple(
                QueryAnswer(query=query, spans=_spans(output))
                for query, output in zip(queries, outputs, strict=True)
            ),
        )


def best_windows(
    output: SampleOutput, start_seconds: float, length_seconds: float
) -> tuple[Floats, Floats]:
    """Return (N, 2) seconds and the log-probability (N,) of the best answers, best first.

    Args:
        output: Of one query about a clip.
        start_seconds: Where the clip starts in the video; answers count from there.
        length_seconds: Of the clip; answers are cut to it.
    """
    named = _named if "segments" in output.windows[0].arrays else _pointed
    found = [named(one, output.times(one.window)) for one in output.windows]
    seconds_N2 = np.concatenate([seconds for seconds, _ in found]) - start_seconds
    seconds_N2 = seconds_N2.clip(0, length_seconds)
    scores_N = np.concatenate([scores for _, scores in found])
    kept = nms(seconds_N2, scores_N, NMS_TIOU, MAX_ANSWERS)
    return seconds_N2[kept], scores_N[kept]


def _spans(output: SampleOutput) -> tuple[Span, ...]:
    seconds_N2, log_p_N = best_windows(output, 0.0, duration(output))
    return tuple(
        Span(start=rounded(start), end=rounded(end), score=rounded(np.exp(log_p)))
        for (start, end), log_p in zip(seconds_N2, log_p_N, strict=True)
    )


def _named(output: WindowOutput, times_T2: Floats) -> tuple[Floats, Floats]:
    """Return seconds and log-probability of the answers whose boundaries one window names."""
    logits_MK = output.arrays["classes"].astype(np.float64)
    return in_seconds(output.arrays["segments"], times_T2), log_softmax(logits_MK, axis=1)[:, 0]


def _pointed(output: WindowOutput, times_T2: Floats) -> tuple[Floats, Floats]:
    """Return seconds and log-probability of the best answers that one window names.

    ``log p(start) + log p(end)`` over all places: where "nothing" is likely all rows are not, which
    makes the windows of a clip comparable.
    """
    start_T, end_T = (
        log_softmax(output.arrays[name][: 1 + len(times_T2)].astype(np.float64))[1:]
        for name in ("start", "end")
    )
    starts, ends = (
        np.argsort(-one_T, kind="stable")[:CANDIDATE_ROWS] for one_T in (start_T, end_T)
    )
    first, last = (pairs.ravel() for pairs in np.meshgrid(starts, ends))
    in_order = first <= last
    if not in_order.any():
        return np.empty((0, 2)), np.empty(0)
    first, last = first[in_order], last[in_order]
    seconds_N2 = np.stack([times_T2[first, 0], times_T2[last, 1]], axis=1)
    scores_N = start_T[first] + end_T[last]
    kept = nms(seconds_N2, scores_N, NMS_TIOU, MAX_ANSWERS)
    return seconds_N2[kept], scores_N[kept]
