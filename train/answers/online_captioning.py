"""Online captioning: what has just happened, in a sentence, as often as narrators have spoken.

Shapes: R rows of a video, C captions of a window, L tokens of a caption.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cache_schema.errors import ConfigError
from cache_schema.parsing import record
from train.answer import Answer, Caption
from train.answers.parts import duration, rounded
from train.data.row_times import ROUNDING_SECONDS
from train.task import (
    IGNORED,
    Answers,
    Arrays,
    HeadContext,
    Sample,
    SampleOutput,
    TaskFacts,
    Window,
)

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = ["CaptionAnswers", "CaptionKnowledge", "OnlineCaptioningOptions", "is_new"]

OWN_LLM = "llm"
"""Name of the generator that is the run's LLM itself."""
Count = Annotated[int, Field(ge=1)]


@record
class OnlineCaptioningOptions:
    """What can be chosen for this task."""

    generator: str = OWN_LLM
    """LM that writes the captions: ``llm`` is the run's own; else ``smollm2``, a hub id or a local
    folder of a second one."""
    generator_layers: Annotated[int, Field(ge=0)] = 0
    """Keep the first so many blocks of a second LM; 0 keeps all."""
    generator_tuning: Annotated[str, Field(pattern=r"^(basic|lora:[1-9]\d*)$")] = "basic"
    """What of a second LM is trained; the run's own follows ``tuning``."""
    prefix_tokens: Count = 4
    """Input embeddings of the generator that a state becomes."""
    max_caption_tokens: Count = 24
    """Longest caption; longer ones are cut in training."""

    def __post_init__(self) -> None:
        if self.generator == OWN_LLM and (
            self.generator_layers or self.generator_tuning != "basic"
        ):
            raise ValueError(
                "generator 'llm' is the run's own: llm.num_layers and tuning hold for it. Leave "
                "generator_layers and generator_tuning out, or name a second LM"
            )


@record
class CaptionKnowledge:
    """How often the narrators of the training videos spoke."""

    seconds: float
    """Median time between two captions."""


class CaptionAnswers(Answers[CaptionKnowledge, OnlineCaptioningOptions]):
    """A caption from the state of the latest row that has ended, by a generative LM."""

    facts = TaskFacts(name="online_captioning", submission=".json", online=True, entries="words")
    knowledge_type = CaptionKnowledge
    options_type = OnlineCaptioningOptions

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Return nothing: the generator's vocabulary belongs to its tokenizer."""
        return {}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return a linear layer to the generator's first embeddings, and the generator."""
        from train.config import LlmConfig
        from train.model.heads.caption import CaptionHead, CaptionWriter
        from train.model.llm import load_llm

        options = self.options
        if options.generator == OWN_LLM:
            if context.llm is None:
                raise ConfigError(
                    "online_captioning: generator 'llm' is the run's LLM, but it has none "
                    "(llm.name). Name an LLM, or a second one as generator."
                )
            language, self._generator = context.llm, context.llm.identity.name
        else:
            config = LlmConfig(name=options.generator, num_layers=options.generator_layers)
            language = load_llm(config, context.device, context.seed, options.generator_tuning)
            self._generator = options.generator
        return CaptionHead(
            context.width,
            CaptionWriter(language, end_id=self.tokenizer.eos_token_id),
            owns_generator=options.generator != OWN_LLM,
            prefix_tokens=options.prefix_tokens,
            max_tokens=options.max_caption_tokens,
        )

    _generator = OWN_LLM

    def adopt(self, built: Answers[CaptionKnowledge, OnlineCaptioningOptions]) -> None:
        """Take over which generator writes."""
        assert isinstance(built, CaptionAnswers)
        self._generator = built._generator

    @cached_property
    def tokenizer(self) -> Any:  # noqa: ANN401 - transformers has no types
        """The generator's."""
        from train.model.text import load_tokenizer

        name = self._generator if self._generator != OWN_LLM else self.options.generator
        assert name != OWN_LLM, "build_head, which knows the run's LLM, comes first"
        tokenizer = load_tokenizer(name)
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                f"generator '{name}': its tokenizer has no token that ends a text. Use "
                "smollm2, gpt2 or facebook/opt-125m."
            )
        return tokenizer

    def inputs(self, sample: Sample, times_R2: NDArray[np.float64], window: Window) -> Arrays:
        """Return ``rows`` (C,): the new rows of a window that are to give a caption."""
        rows_C = self._rows(times_R2)
        return {"rows": rows_C[is_new(rows_C, window)] - window.start}

    def row_inputs(self, end: float, next_end: float) -> Arrays:
        """Return ``rows``: the row itself if it is the latest that has ended at a turn."""
        is_turn_1 = self._speak(np.array([end]), np.array([next_end]))
        return {"rows": np.zeros(is_turn_1.sum(), np.int64)}

    def _rows(self, times_R2: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows that give a caption: the latest ended at each turn of the narrators."""
        starts_R, ends_R = times_R2.T
        next_R = np.append(ends_R[1:], math.inf)
        # The end of the video may cut its last row short: who watches does not know yet.
        next_R[-2:-1] = np.maximum(next_R[-2:-1], ends_R[-2:-1] + np.diff(starts_R)[-1:])
        return np.flatnonzero(self._speak(ends_R, next_R))

    def _speak(self, ends_R: NDArray[np.float64], next_R: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which rows are the latest that have ended at a turn, or when the video ends.

        Args:
            ends_R: In seconds.
            next_R: Ends of the rows that follow; ``math.inf`` where none does.
        """
        seconds = self.knowledge.seconds
        turns_R = np.maximum(1, np.ceil((ends_R - ROUNDING_SECONDS) / seconds)) * seconds
        is_turn_R: NDArray[np.bool_] = turns_R + ROUNDING_SECONDS < next_R
        return is_turn_R

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return the captions of the whole video; one that is said again goes on."""
        (output,) = outputs
        rows_C = self._rows(output.times_R2)
        said: list[tuple[float, str]] = []
        for one in output.windows:
            new = rows_C[is_new(rows_C, one.window)]
            for row, ids_L in zip(new, one.arrays["generated"][: len(new)], strict=True):
                text = self.text(ids_L)
                if not said or said[-1][1] != text:
                    said.append((rounded(output.times_R2[row, 1]), text))
        ends = [*(start for start, _ in said[1:]), duration(output)]
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=duration(output),
            captions=tuple(
                Caption(start=start, end=end, text=text)
                for (start, text), end in zip(said, ends, strict=True)
            ),
        )

    def text(self, ids_L: NDArray[np.int64]) -> str:
        """Return the caption that generated tokens spell."""
        text = self.tokenizer.decode(ids_L[ids_L != IGNORED], skip_special_tokens=True)
        return " ".join(text.split())


def is_new(rows: NDArray[np.int64], window: Window) -> NDArray[np.bool_]:
    """Tell which rows a window predicts; its context has been predicted by an earlier one."""
    return (rows >= window.start + window.num_context) & (rows < window.stop)
