"""How a run's scores become labels is chosen as its other settings are: on held-out videos.

What segments gain by a decoder, accuracy pays for. Where on that line a network does best differs:
one that says much that is new at every row wants another weight against the order of the labels
than one that is smooth by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np

from train.answers.action_segmentation import CHOSEN_BY, SegmentationAnswers
from train.metrics.segmental import LabelPair, segmental_scores
from train.predict.ensemble import open_runs
from train.predict.subset import predict_subset
from train.task import SampleOutput

__all__ = ["COMPARED", "best_decoder", "best_of"]

COMPARED = CHOSEN_BY
"""The search climbs their mean, as the task does that chooses its decoder."""

FILTER_WEIGHTS = (1.0, 1.5, 2.0, 3.0, 4.5)
Decoder = Mapping[str, object]
DECODERS: Sequence[Decoder] = (
    {"decoder": "argmax"},
    {"decoder": "two_head"},
    *(
        {"decoder": name, "filter_weight": weight}
        for name in ("causal_filter", "history_filter")
        for weight in FILTER_WEIGHTS
    ),
)
"""Options of the task; no row of any of them depends on a later one."""


def best_decoder(run: Path, store: Path) -> tuple[float, Decoder]:
    """Return the best mean of ``COMPARED`` on a run's test split, and the decoder that gave it.

    Args:
        run: Its folder; the videos of its split are those that are held out.
        store: With its features.
    """
    ensemble = open_runs([run], device="cpu", task_name="", options={})
    said = predict_subset(
        ensemble, store, subset="val", stream_names=(), annotations="", allow_missing=0
    )
    known = ensemble.answers
    assert isinstance(known, SegmentationAnswers)
    return best_of(known, list(said.outputs))


def best_of(known: SegmentationAnswers, outputs: Sequence[SampleOutput]) -> tuple[float, Decoder]:
    """Return the same of what is said about videos with labels; ``known`` has other options."""
    scored = []
    for decoder in DECODERS:
        if decoder["decoder"] == "two_head" and not known.options.next_weight:
            continue
        scores = segmental_scores(_pairs(known, outputs, decoder), background=0)
        scored.append((mean(scores[key] for key in COMPARED), decoder))
    return max(scored, key=lambda one: one[0])


def _pairs(
    known: SegmentationAnswers, outputs: Sequence[SampleOutput], decoder: Decoder
) -> list[LabelPair]:
    """Return each video's labels, and what they become with a decoder."""
    answers = SegmentationAnswers(known.knowledge, replace(known.options, **decoder))
    return [
        LabelPair(
            truth_F=np.asarray(output.sample.target, dtype=np.int64),
            predicted_F=answers.frame_classes(output),
        )
        for output in outputs
    ]
