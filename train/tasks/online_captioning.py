"""Online captioning on Ego4D narrations: what has just happened, in a sentence.

Official file: narration.json, beside our splits.json (``train.annotations.narrations``).
Submission: {id: caption}. Scores: COCO's caption metrics (pycocoevalcap).

Shapes: R rows of a video, N narrations of a video, C narrations of a window, L tokens of a caption,
2 start and end seconds.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cache_schema.errors import ConfigError
from cache_schema.parsing import record
from train.annotations.narrations import Narration, read_captions
from train.annotations.opening import open_narrations
from train.data.row_times import ROUNDING_SECONDS, rows_completed_by
from train.metrics.captions import caption_scores
from train.task import (
    IGNORED,
    HeadContext,
    LossSum,
    QueryPlace,
    Sample,
    SampleOutput,
    Subset,
    Window,
)

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import Tensor, nn

__all__ = ["OnlineCaptioning", "OnlineCaptioningOptions"]

OWN_LLM = "llm"
"""Name of the generator that is the run's LLM itself."""
Count = Annotated[int, Field(ge=1)]

# --- options ------------------------------------------------------------------------------------


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


class OnlineCaptioning:
    """A caption from the state of the latest row that has ended, by a generative LM."""

    name: ClassVar[str] = "online_captioning"
    main_metric: ClassVar[str] = "METEOR"
    submission: ClassVar[str] = ".json"
    online: ClassVar[bool] = True
    query_place: ClassVar[QueryPlace] = "none"
    class_outputs: ClassVar[bool] = False
    options_type: ClassVar[type] = OnlineCaptioningOptions
    appended_tokens: int = 0

    def __init__(self, annotations: Path, options: OnlineCaptioningOptions) -> None:
        self._source = open_narrations(annotations)
        self._options = options
        self._generator = options.generator
        self._tokens_by_video: dict[str, NDArray[np.int64]] = {}

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per video with a narration; its target are these, by time."""
        return [
            Sample(
                video_id=video_id,
                start_seconds=0.0,
                end_seconds=math.inf,
                target=tuple(narrations),
                record_ends=tuple(one.seconds for one in narrations),
            )
            for video_id, narrations in self._source.narrations(subset).items()
        ]

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64]]:
        """Return ``rows`` (C,) and ``tokens`` (C, L) of the captions that new rows are to give.

        A row gives the captions of the narrations for which it is the latest that has ended.
        """
        rows_N = _caption_rows(sample, times_R2)
        new_N = _is_new(rows_N, window)
        tokens_CL = self._tokens(sample)[new_N]
        return {"rows": rows_N[new_N] - window.start, "tokens": tokens_CL}

    def _tokens(self, sample: Sample) -> NDArray[np.int64]:
        """Return the ids (N, L) of a video's captions, made when they are first asked for."""
        if sample.video_id not in self._tokens_by_video:
            texts = [one.text for one in _narrations(sample)]
            encoded = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
            ends = [[*ids, self._tokenizer.eos_token_id] for ids in encoded]
            length = min(self._options.max_caption_tokens, max(map(len, ends)))
            tokens_NL = np.full((len(ends), length), IGNORED, np.int64)
            for tokens_L, ids in zip(tokens_NL, ends, strict=True):
                tokens_L[: len(ids)] = ids[:length]
            self._tokens_by_video[sample.video_id] = tokens_NL
        return self._tokens_by_video[sample.video_id]

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - transformers has no types
        from train.model.text import load_tokenizer

        assert self._generator != OWN_LLM, "build_head, which knows the run's LLM, comes first"
        tokenizer = load_tokenizer(self._generator)
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                f"generator '{self._generator}': its tokenizer has no token that ends a text. Use "
                "smollm2, gpt2 or facebook/opt-125m."
            )
        return tokenizer

    # --- head -----------------------------------------------------------------------------------

    def labels(self) -> dict[str, list[str]]:
        """Return nothing: the generator's vocabulary belongs to its tokenizer."""
        return {}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return a linear layer to the generator's first embeddings, and the generator."""
        from train.config import LlmConfig
        from train.model.heads.caption import CaptionHead, CaptionWriter
        from train.model.llm import load_llm

        options = self._options
        if options.generator == OWN_LLM:
            if context.llm is None:
                raise ConfigError(
                    "online_captioning: generator 'llm' is the run's LLM, but llm.name is 'none'. "
                    "Name an LLM, or a second one as generator."
                )
            language, self._generator = context.llm, context.llm.identity.name
        else:
            config = LlmConfig(name=options.generator, num_layers=options.generator_layers)
            language = load_llm(config, context.device, context.seed, options.generator_tuning)
        return CaptionHead(
            context.width,
            CaptionWriter(language, end_id=self._tokenizer.eos_token_id),
            owns_generator=options.generator != OWN_LLM,
            prefix_tokens=options.prefix_tokens,
            max_tokens=options.max_caption_tokens,
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: "Mapping[str, Tensor]", targets: "Mapping[str, Tensor]") -> LossSum:
        """Return the cross-entropy of the caption tokens, each after the true ones before it."""
        num_targets = int((targets["tokens"] != IGNORED).sum())
        return LossSum(total=-outputs["log_likelihood"].sum(), num_targets=num_targets)

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write ``{id: caption}``.

        Narrations before the first row has ended get the most frequent training caption, since
        nothing has been seen by then. So do validation narrations without outputs: a submission of
        these is made whole, since the official evaluator knows no missing id.
        """
        captions = {id_: text for output in outputs for id_, text in self._captions(output)}
        references = self._source.references()
        if captions.keys() <= references.keys():
            captions = {one: captions.get(one, self._most_frequent) for one in references}
        _write(captions, path)

    def _captions(self, output: SampleOutput) -> Iterator[tuple[str, str]]:
        narrations = _narrations(output.sample)
        rows_N = _caption_rows(output.sample, output.times_R2)
        for index in np.flatnonzero(rows_N < 0):
            yield narrations[index].narration_id, self._most_frequent
        for one in output.windows:
            places = np.flatnonzero(_is_new(rows_N, one.window))
            for index, ids_L in zip(places, one.arrays["generated"][: len(places)], strict=True):
                text = self._tokenizer.decode(ids_L[ids_L != IGNORED], skip_special_tokens=True)
                yield narrations[index].narration_id, " ".join(text.split())

    @cached_property
    def _most_frequent(self) -> str:
        counts = Counter(self._training_captions())
        return max(counts, key=lambda text: (counts[text], text))

    def _training_captions(self) -> list[str]:
        videos = self._source.narrations("train").values()
        return [one.text for narrations in videos for one in narrations]

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return pycocoevalcap's numbers; METEOR needs a Java runtime and is None without one.

        Captions are compared as they are written, with their ``#C C``.
        """
        references = self._source.references()
        return caption_scores(references, read_captions(predictions, references))

    def quality(self, scores: Mapping[str, float | None]) -> float | None:
        """Return ROUGE-L, which needs no Java: the best epoch is the same with and without it."""
        return scores["ROUGE_L"]

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of random training captions and of the most frequent one.

        Args:
            folder: Gets the submissions ``chance.json`` and ``majority.json``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        known = self._training_captions()
        ids = list(self._source.references())
        drawn = rng.integers(len(known), size=len(ids))
        submissions = {
            "chance": {one: known[index] for one, index in zip(ids, drawn, strict=True)},
            "majority": dict.fromkeys(ids, self._most_frequent),
        }
        for name, captions in submissions.items():
            _write(captions, folder / f"{name}{self.submission}")
        return {name: self.score(folder / f"{name}{self.submission}") for name in submissions}


def _narrations(sample: Sample) -> tuple[Narration, ...]:
    assert isinstance(sample.target, tuple)
    return sample.target


def _caption_rows(sample: Sample, times_R2: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the latest row that has ended at each narration's time, -1 where none has."""
    seconds_N = np.array([one.seconds for one in _narrations(sample)])
    return rows_completed_by(times_R2, seconds_N + ROUNDING_SECONDS)


def _is_new(rows_N: NDArray[np.int64], window: Window) -> NDArray[np.bool_]:
    """Tell which rows a window predicts; its context has been predicted by an earlier one."""
    return (rows_N >= window.start + window.num_context) & (rows_N < window.stop)


def _write(captions: Mapping[str, str], path: Path) -> None:
    path.write_text(json.dumps(captions, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
