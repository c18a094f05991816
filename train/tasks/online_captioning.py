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
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from train.annotations.narrations import Narrations, NarrationSource, read_captions
from train.annotations.opening import open_narrations
from train.answer import Answer, Caption
from train.answers.online_captioning import (
    CaptionAnswers,
    CaptionKnowledge,
    OnlineCaptioningOptions,
    is_new,
)
from train.answers.parts import duration, known_until, rounded
from train.data.row_times import ROUNDING_SECONDS, rows_completed_by
from train.metrics.captions import caption_scores
from train.task import IGNORED, LossSum, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["OnlineCaptioning", "OnlineCaptioningOptions"]

SECONDS_OF_ONE = 5.0
"""Between two captions, where no training video has two."""


class OnlineCaptioning(Task[NarrationSource, OnlineCaptioningOptions]):
    """A caption from the state of the latest row that has ended, by a generative LM."""

    answers_type: ClassVar[type[CaptionAnswers]] = CaptionAnswers
    main_metric = "METEOR"

    @staticmethod
    def open(annotations: Path, options: OnlineCaptioningOptions) -> NarrationSource:
        """Return narrations, official or ours."""
        return open_narrations(annotations)

    @cached_property
    def answers(self) -> CaptionAnswers:
        """What the head says, as often as the narrators of the training videos spoke."""
        videos = self.source.narrations("train").values()
        seconds = [np.diff(narrations.seconds_N) for narrations in videos]
        gaps = np.concatenate([*seconds, []])
        median = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else SECONDS_OF_ONE
        return self.answers_type(CaptionKnowledge(seconds=median), self.options)

    @cached_property
    def _tokens_by_video(self) -> dict[str, NDArray[np.int64]]:
        return {}

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per video with a narration; its target are these, by time."""
        durations = self.source.durations()
        return [
            Sample(
                video_id=video_id,
                start_seconds=0.0,
                end_seconds=math.inf,
                target=narrations,
                duration_seconds=durations.get(video_id),
                record_ends=tuple(narrations.seconds_N.tolist()),
            )
            for video_id, narrations in self.source.narrations(subset).items()
        ]

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64]]:
        """Return ``rows`` (C,) and ``tokens`` (C, L) of the captions that new rows are to give.

        A row gives the captions of the narrations for which it is the latest that has ended.
        """
        rows_N = _caption_rows(sample, times_R2)
        new_N = is_new(rows_N, window)
        tokens_CL = self._tokens(sample)[new_N]
        return {"rows": rows_N[new_N] - window.start, "tokens": tokens_CL}

    def _tokens(self, sample: Sample) -> NDArray[np.int64]:
        """Return the ids (N, L) of a video's captions, made when they are first asked for."""
        if sample.video_id not in self._tokens_by_video:
            texts = _narrations(sample).texts
            encoded = self.answers.tokenizer(texts, add_special_tokens=False)["input_ids"]
            ends = [[*ids, self.answers.tokenizer.eos_token_id] for ids in encoded]
            length = min(self.options.max_caption_tokens, max(map(len, ends)))
            tokens_NL = np.full((len(ends), length), IGNORED, np.int64)
            for tokens_L, ids in zip(tokens_NL, ends, strict=True):
                tokens_L[: len(ids)] = ids[:length]
            self._tokens_by_video[sample.video_id] = tokens_NL
        return self._tokens_by_video[sample.video_id]

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer:
        """Return the narrations, each until a later one comes.

        The last one ends where it starts: when the video ends is not annotated.
        """
        narrations = _narrations(sample)
        seconds_N = narrations.seconds_N
        later_N = np.searchsorted(seconds_N, seconds_N, side="right")
        ends_N = np.append(seconds_N, known_until(sample))[later_N]
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=known_until(sample),
            captions=tuple(
                Caption(start=rounded(one.seconds), end=rounded(end), text=one.text)
                for one, end in zip(narrations, ends_N, strict=True)
            ),
        )

    def said(self, output: SampleOutput) -> Answer:
        """Say what stands in the submission: a caption for each narration, when that comes."""
        truth, captions = self.truth(output.sample), dict(self._captions(output))
        texts = [captions[one.narration_id] for one in _narrations(output.sample)]
        return replace(
            truth,
            duration=duration(output),
            captions=tuple(
                replace(one, text=text) for one, text in zip(truth.captions, texts, strict=True)
            ),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the cross-entropy of the caption tokens, each after the true ones before it."""
        num_targets = (targets["tokens"] != IGNORED).sum()
        return LossSum(total=-outputs["log_likelihood"].sum(), num_targets=num_targets)

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write ``{id: caption}``.

        Narrations before the first row has ended get the most frequent training caption, since
        nothing has been seen by then. So do validation narrations without outputs: a submission of
        these is made whole, since the official evaluator knows no missing id.
        """
        captions = {id_: text for output in outputs for id_, text in self._captions(output)}
        references = self.source.references()
        if captions.keys() <= references.keys():
            captions = {one: captions.get(one, self._most_frequent) for one in references}
        _write(captions, path)

    def _captions(self, output: SampleOutput) -> Iterator[tuple[str, str]]:
        narrations = _narrations(output.sample)
        rows_N = _caption_rows(output.sample, output.times_R2)
        for index in np.flatnonzero(rows_N < 0).tolist():
            yield narrations[index].narration_id, self._most_frequent
        for one in output.windows:
            places = np.flatnonzero(is_new(rows_N, one.window)).tolist()
            for index, ids_L in zip(places, one.arrays["generated"][: len(places)], strict=True):
                yield narrations[index].narration_id, self.answers.text(ids_L)

    @cached_property
    def _most_frequent(self) -> str:
        counts = Counter(self._training_captions())
        return max(counts, key=lambda text: (counts[text], text))

    def _training_captions(self) -> list[str]:
        videos = self.source.narrations("train").values()
        return [text for narrations in videos for text in narrations.texts]

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return pycocoevalcap's numbers; METEOR needs a Java runtime and is None without one.

        Captions are compared as they are written, with their ``#C C``.
        """
        references = self.source.references()
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
        ids = list(self.source.references())
        drawn = rng.integers(len(known), size=len(ids))
        submissions = {
            "chance": {one: known[index] for one, index in zip(ids, drawn, strict=True)},
            "majority": dict.fromkeys(ids, self._most_frequent),
        }
        for name, captions in submissions.items():
            _write(captions, folder / f"{name}{self.facts.submission}")
        return {name: self.score(folder / f"{name}{self.facts.submission}") for name in submissions}


def _narrations(sample: Sample) -> Narrations:
    assert isinstance(sample.target, Narrations)
    return sample.target


def _caption_rows(sample: Sample, times_R2: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the latest row that has ended at each narration's time, -1 where none has."""
    return rows_completed_by(times_R2, _narrations(sample).seconds_N + ROUNDING_SECONDS)


def _write(captions: Mapping[str, str], path: Path) -> None:
    path.write_text(json.dumps(captions, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
