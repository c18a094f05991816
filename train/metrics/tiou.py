"""Temporal intersection over union, in the two forms that official evaluators have.

Pure NumPy; a segment is a start and an end in any unit.

Shapes: N and M segments, 2 start and end.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["clipped_share", "tiou_by_hull", "tiou_by_lengths"]

Floats = NDArray[np.float64]


def tiou_by_lengths(a_N2: Floats, b_M2: Floats) -> Floats:
    """Return the (N, M) overlaps: intersection / (length + length - intersection).

    nan for two segments without length, wherever they lie. Differs from ``tiou_by_hull`` there and
    in rounding; ActivityNet's detection evaluator has this one.
    """
    intersections_NM = _intersections(a_N2, b_M2)
    lengths_NM = (b_M2[:, 1] - b_M2[:, 0])[None] + (a_N2[:, 1] - a_N2[:, 0])[:, None]
    with np.errstate(invalid="ignore"):
        overlaps_NM: Floats = intersections_NM / (lengths_NM - intersections_NM)
    return overlaps_NM


def tiou_by_hull(a_N2: Floats, b_M2: Floats) -> Floats:
    """Return the (N, M) overlaps: intersection / (last end - first start).

    nan for two segments without length at one instant. Both of Ego4D's retrieval evaluators have
    this one.
    """
    hulls_NM = np.maximum(a_N2[:, None, 1], b_M2[None, :, 1]) - np.minimum(
        a_N2[:, None, 0], b_M2[None, :, 0]
    )
    with np.errstate(invalid="ignore"):
        overlaps_NM: Floats = _intersections(a_N2, b_M2) / np.maximum(hulls_NM, 0.0)
    return overlaps_NM


def _intersections(a_N2: Floats, b_M2: Floats) -> Floats:
    ends_NM = np.minimum(a_N2[:, None, 1], b_M2[None, :, 1])
    starts_NM = np.maximum(a_N2[:, None, 0], b_M2[None, :, 0])
    intersections_NM: Floats = np.maximum(ends_NM - starts_NM, 0.0)
    return intersections_NM


def clipped_share(segments_N2: Floats, start: float, end: float) -> tuple[Floats, Floats]:
    """Cut segments to ``[start, end)``; return them and the share of each that is left.

    A segment without length counts as whole where it lies inside. What lies outside has share 0.

    Examples:
        >>> cut, share = clipped_share(np.array([[0.0, 4.0], [3.0, 3.0]]), 1.0, 9.0)
        >>> cut.tolist(), share.tolist()
        ([[1.0, 4.0], [3.0, 3.0]], [0.75, 1.0])
    """
    cut_N2 = segments_N2.clip(start, end)
    starts_N, ends_N = segments_N2.T
    lengths_N = ends_N - starts_N
    inside_N = (start <= starts_N) & (starts_N < end)
    share_N = np.where(lengths_N > 0, (cut_N2[:, 1] - cut_N2[:, 0]), inside_N)
    return cut_N2, share_N / np.where(lengths_N > 0, lengths_N, 1.0)
