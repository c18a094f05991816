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

from train.answers.action_segmentation import SegmentationAnswers
from train.metrics.segmental import LabelPair, segmental_scores
from train.predict.ensemble import open_runs
from train.predict.subset import predict_subset
from train.task import SampleOutput

__all__ = ["COMPARED", "best_decoder", "mean_score"]

COMPARED = ["Acc_video_mean", "Edit", "F1@0.10", "F1@0.25", "F1@0.50"]
"""The search climbs their mean."""

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
    outputs = list(said.outputs)
    known = ensemble.answers
    assert isinstance(known, SegmentationAnswers)
    scored = []
    for decoder in DECODERS:
        options = replace(known.options, **decoder)
        answers = SegmentationAnswers(known.knowledge, options)
        scored.append((mean_score([_pair(answers, output) for output in outputs]), decoder))
    return max(scored, key=lambda one: one[0])


def mean_score(pairs: Sequence[LabelPair]) -> float:
    """Return what a search climbs: the mean of ``COMPARED`` over videos."""
    scores = segmental_scores(pairs, background=0)
    return mean(scores[key] for key in COMPARED)


def _pair(answers: SegmentationAnswers, output: SampleOutput) -> LabelPair:
    truth_F = np.asarray(output.sample.target, dtype=np.int64)
    return LabelPair(truth_F=truth_F, predicted_F=answers.frame_classes(output))
