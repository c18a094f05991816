"""A paired test over videos: how far a difference of scores depends on which videos there were.

Edit and Acc_video_mean are means over videos; F1 counts the segments of all, which is the mean of
each video's F1 weighted by its segments, true and predicted. So each video is scored once.

Shapes: D draws, V videos, K scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.arena_decoders import COMPARED
from train.metrics.segmental import LabelPair, segmental_scores, segments_of

__all__ = ["Difference", "VideoScores", "difference", "paired", "show_differences"]

BOOTSTRAPS = 1000
INTERVAL = (2.5, 97.5)
"""Percentiles."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoScores:
    """One run's scores, video by video."""

    values_VK: Floats
    weights_VK: Floats

    @classmethod
    def of(cls, pairs: Sequence[LabelPair]) -> "VideoScores":
        """Score each video by itself."""
        scores = [segmental_scores([pair], background=0) for pair in pairs]
        segments = [_num_segments(pair) for pair in pairs]
        return cls(
            values_VK=np.array([[one[key] for key in COMPARED] for one in scores]),
            weights_VK=np.array(
                [[one if key.startswith("F1") else 1 for key in COMPARED] for one in segments],
                np.float64,
            ),
        )

    def of_draws(self, counts_DV: NDArray[np.int64]) -> Floats:
        """Return the scores (D, K) of all videos together, each as often as a draw has it."""
        weights_DK = counts_DV @ self.weights_VK
        sums_DK: Floats = counts_DV @ (self.weights_VK * self.values_VK)
        return sums_DK / np.maximum(weights_DK, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Of one score, in points."""

    own: float
    low: float
    high: float


def difference(
    first: Sequence[Mapping[str, LabelPair]],
    second: Sequence[Mapping[str, LabelPair]],
    source_of: Callable[[str], str] = str,
) -> dict[str, Difference]:
    """Return the first less the second, means over their runs, with 95 % intervals over sources.

    Args:
        first: Runs, such as seeds, that predicted the same videos.
        second: Others, of the same videos.
        source_of: Names what a video shows: of one source all videos are drawn, or none.
    """
    videos = sorted(first[0])
    of_first, of_second = (
        [VideoScores.of([run[video] for video in videos]) for run in runs]
        for runs in (first, second)
    )
    found = paired(of_first, of_second, [source_of(video) for video in videos])
    return dict(zip(COMPARED, found, strict=True))


def paired(
    first: Sequence[VideoScores], second: Sequence[VideoScores], sources: Sequence[str]
) -> list[Difference]:
    """Return each score's difference, first less second.

    Args:
        first: Runs, such as seeds, with scores of the same videos.
        second: Others, of the same videos.
        sources: What each video shows: of one source all videos are drawn, or none.
    """
    distinct, source_V = np.unique(sources, return_inverse=True)
    num = len(distinct)
    rng = np.random.default_rng(0)
    draws = [np.arange(num), *(rng.integers(num, size=num) for _ in range(BOOTSTRAPS))]
    counts_DV = np.array([np.bincount(drawn, minlength=num) for drawn in draws])[:, source_V]
    of_first, of_second = (
        np.mean([run.of_draws(counts_DV) for run in runs], axis=0) for runs in (first, second)
    )
    return [_difference(own_D) for own_D in (of_first - of_second).T]


def _difference(own_D: Floats) -> Difference:
    low, high = np.percentile(own_D[1:], INTERVAL)
    return Difference(own=float(own_D[0]), low=float(low), high=float(high))


def show_differences(found: Mapping[str, Difference], *, decimals: int = 2) -> None:
    """Print what a paired test found."""
    for key, one in found.items():
        own, low, high = (f"{value:+.{decimals}f}" for value in (one.own, one.low, one.high))
        click.echo(f"{key:24}{own:>8}   [{low}, {high}]")


def _num_segments(pair: LabelPair) -> int:
    sides = (pair.truth_F, pair.predicted_F)
    return sum(len(segments_of(side, background=0).labels_S) for side in sides)
