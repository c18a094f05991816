"""Videos that show the same: the same file, the same rows, or rows that run alike.

Every video's mean row is compared with every other's, which finds its nearest neighbours; then the
rows of near ones are laid over each other at every shift. A copy that was cut, brightened or
encoded again runs alike; two videos of one kitchen have near means, but their rows do not.

Shapes: V videos, D feature dim, A rows of the shorter video, B of the longer, K shifts, N nearest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cache_schema.stream import RowSpan, Stream
from extract.store_page.rows import LookedAt, pooled, read_span

__all__ = ["ALIKE", "Duplicates", "find_duplicates", "row_likeness"]

ALIKE = 0.9
"""Median cosine of rows laid over each other, from which videos are near-duplicates: what reaches
it is nearly always a copy; copies of which little is left do not (docs/store-report.md)."""
NEAR = 0.5
"""Cosine of mean rows from which two videos are compared row by row."""
NUM_NEAREST = 5
MOST_PAIRS = 1000
"""Compared row by row."""
MOST_SHORT_ROWS = 128
MOST_LONG_ROWS = 4096
FEW_ROWS = 8
"""A video with fewer is compared as a whole."""
BLOCK_VIDEOS = 1024

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What was found of the videos looked at; equal files and rows among all videos."""

    nearest_V: NDArray[np.int64]
    """Of each video, the one with the nearest mean row; -1 if there is no other."""
    similarity_V: Floats
    """Cosine of the two mean rows, the mean of all rows subtracted; NaN if there is no other."""
    near: list[tuple[list[str], float]]
    """Groups of videos that run alike, and the lowest likeness that holds a group together."""
    same_file: list[list[str]]
    """Groups of videos whose files have equal content."""
    same_rows: list[list[str]]
    """Groups of videos whose rows are equal bit for bit."""
    num_compared: int
    """Pairs of videos that were compared row by row."""
    num_left_out: int
    """Near pairs that were not, since there were too many."""


def find_duplicates(
    stream: Stream, looked: LookedAt, advance: Callable[[int], object]
) -> Duplicates:
    """Return which videos show the same.

    Args:
        stream: Whose rows are compared.
        looked: A sample of them.
        advance: Called with the number of pairs just compared.
    """
    mean_D = looked.kept_MD.mean(axis=0)
    unit_VD = _unit(looked.mean_VD - mean_D)
    nearest_VN, cosine_VN = _nearest(unit_VD)
    pairs = _near_pairs(nearest_VN, cosine_VN)
    alike = []
    for left, right in pairs[:MOST_PAIRS]:
        likeness = row_likeness(stream, looked.video_ids[left], looked.video_ids[right], mean_D)
        if likeness >= ALIKE:
            alike.append((left, right, likeness))
        advance(1)
    return Duplicates(
        nearest_V=nearest_VN[:, 0],
        similarity_V=cosine_VN[:, 0],
        near=list(_joined(alike, looked.video_ids)),
        same_file=_equal(stream, _file),
        same_rows=_equal(stream, _rows),
        num_compared=min(len(pairs), MOST_PAIRS),
        num_left_out=max(0, len(pairs) - MOST_PAIRS),
    )


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Floats = rows / np.maximum(length, np.finfo(np.float32).tiny)
    return unit


def _nearest(unit_VD: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return each video's nearest others, nearest first, and their cosines, both (V, N)."""
    num_videos = len(unit_VD)
    num = min(NUM_NEAREST, num_videos - 1)
    if num == 0:
        return np.full((1, 1), -1, np.int64), np.full((1, 1), np.nan, np.float32)
    nearest_VN = np.empty((num_videos, num), np.int64)
    cosine_VN = np.empty((num_videos, num), np.float32)
    for start in range(0, num_videos, BLOCK_VIDEOS):
        cosine = unit_VD[start : start + BLOCK_VIDEOS] @ unit_VD.T
        lines = np.arange(len(cosine))
        cosine[lines, start + lines] = -np.inf  # itself
        best = np.argpartition(cosine, -num, axis=1)[:, -num:]
        order = np.argsort(-np.take_along_axis(cosine, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        nearest_VN[start + lines] = best
        cosine_VN[start + lines] = np.take_along_axis(cosine, best, 1)
    return nearest_VN, cosine_VN


def _near_pairs(nearest_VN: NDArray[np.int64], cosine_VN: Floats) -> list[tuple[int, int]]:
    """Return pairs of near videos, each once, nearest first."""
    cosines: dict[tuple[int, int], float] = {}
    for left, column in zip(*np.nonzero(cosine_VN >= NEAR), strict=True):
        right = int(nearest_VN[left, column])
        cosines[min(int(left), right), max(int(left), right)] = float(cosine_VN[left, column])
    return sorted(cosines, key=lambda pair: -cosines[pair])


def row_likeness(stream: Stream, one: str, other: str, mean_D: Floats) -> float:
    """Return how alike the rows of two videos run: -1 to 1, of equal ones 1.

    The middle half of the shorter video is laid over the longer one at every shift; the likeness is
    the median cosine of the rows that meet, where it is highest.

    Args:
        stream: Holds both.
        one: Id of a video.
        other: Id of another.
        mean_D: Mean of all rows, which is subtracted: what all share tells nothing.
    """
    short, long = sorted((one, other), key=stream.rows_of)
    num_rows = stream.rows_of(short)
    count = min(MOST_SHORT_ROWS, max(FEW_ROWS, num_rows // 2))
    short_AD = _middle(stream, short, count, mean_D)
    long_BD = _middle(stream, long, MOST_LONG_ROWS, mean_D)
    cosine_AB = short_AD @ long_BD.T
    rows_A = np.arange(len(short_AD))
    shifts_K = np.arange(len(long_BD) - len(short_AD) + 1)
    cosine_AK = cosine_AB[rows_A[:, None], rows_A[:, None] + shifts_K]
    return float(np.median(cosine_AK, axis=0).max())


def _middle(stream: Stream, video_id: str, most: int, mean_D: Floats) -> Floats:
    num_rows = stream.rows_of(video_id)
    count = min(most, num_rows)
    values = read_span(stream, RowSpan(video_id, (num_rows - count) // 2, count))
    return _unit(pooled(values) - mean_D)


def _joined(
    alike: list[tuple[int, int, float]], video_ids: list[str]
) -> Iterator[tuple[list[str], float]]:
    """Yield the groups that pairs of videos make, most alike first."""
    if not alike:
        return
    left, right, likeness = map(np.array, zip(*alike, strict=True))
    size = len(video_ids)
    _, group_V = connected_components(
        coo_array((np.ones(len(left)), (left, right)), shape=(size, size)), directed=False
    )
    groups = sorted(set(group_V[left]), key=lambda group: -likeness[group_V[left] == group].min())
    for group in groups:
        members = [video_ids[place] for place in np.flatnonzero(group_V == group)]
        yield members, float(likeness[group_V[left] == group].min())


def _equal(stream: Stream, key: Callable[[Stream, str], object]) -> list[list[str]]:
    groups: dict[object, list[str]] = defaultdict(list)
    for video_id in stream.video_ids:
        groups[key(stream, video_id)].append(video_id)
    return [group for name, group in groups.items() if name is not None and len(group) > 1]


def _file(stream: Stream, video_id: str) -> object:
    digest = stream.commit(video_id).video.digest
    return None if digest == "unknown" else digest


def _rows(stream: Stream, video_id: str) -> object:
    commit = stream.commit(video_id)
    return commit.num_rows, commit.features_crc32c
