"""Rows that come again, in a video or in several, and which of them show a black frame.

Rows do not tell what their frame looked like. But black frames all make the same row, so they are
found among the rows that come again most often, by a look at the video itself.

Shapes: R rows looked at, V videos, S numbers of a sketch, N places of a picture, C rows of a group.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.store_page.rows import SAME, LookedAt
from extract.store_page.video_files import Shot, VideoFiles

__all__ = ["Repeat", "find_repeats", "num_black"]

MOST_GROUPS = 16
"""Looked at on video: half of them because they span most videos, half for their many rows. Black
lead-ins are of the first kind; the rows of two equal videos would crowd out a fade of one."""
CELL_DIMS = 6
CELL = 4 * SAME
"""Width of a cell in shares of the typical row's length: equal rows seldom fall into two."""
LOOKS = 2
"""Videos of a group that are looked at."""
BLACK = 16
"""Mean luma, of 255, below which a frame is black; broadcast black is 16 before it is converted."""
SHOT_HEIGHT = 96


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A group of rows that are all the same."""

    rows_C: NDArray[np.int64]
    """Which of the rows looked at."""
    num_videos: int
    shot: Shot
    """The frame of one of them."""
    luma: float | None
    """Mean luma of the brightest frame that was looked at, 0 to 255; None if no file was found."""

    @property
    def is_black(self) -> bool:
        """Whether the frames that were looked at are black."""
        return self.luma is not None and self.luma < BLACK


def find_repeats(looked: LookedAt, files: VideoFiles) -> list[Repeat]:
    """Return the rows that come again, those of most videos first; one frame of each is shown."""
    repeats = [_repeat(rows_C, looked, files) for rows_C in _groups(looked)]
    return sorted(repeats, key=lambda one: (-one.num_videos, -len(one.rows_C)))


def num_black(repeats: list[Repeat], looked: LookedAt) -> NDArray[np.int64] | None:
    """Return how many rows of each video show a black frame, (V,).

    None if rows come again, but the frame of none could be looked at.
    """
    if repeats and all(repeat.luma is None for repeat in repeats):
        return None
    num_V = np.zeros(len(looked.video_ids), np.int64)
    for repeat in repeats:
        if repeat.is_black:
            num_V += np.bincount(looked.video_R[repeat.rows_C], minlength=len(num_V))
    return num_V


def _groups(looked: LookedAt) -> Iterator[NDArray[np.int64]]:
    """Yield groups of equal rows: by turns the one of most videos and the one of most rows."""
    length_R = np.linalg.norm(looked.sketch_RS, axis=1)
    width = CELL * max(float(np.median(length_R)), 1e-12) / np.sqrt(looked.sketch_RS.shape[1])
    cells = np.floor(looked.sketch_RS[:, :CELL_DIMS] / width)
    _, first_C, cell_R, size_C = np.unique(
        cells, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    pairs = np.unique(np.stack([cell_R, looked.video_R]), axis=1)
    videos_C = np.bincount(pairs[0], minlength=len(size_C))
    is_taken_R = np.zeros(len(length_R), bool)
    num_groups = 0
    orders = np.lexsort((-size_C, -videos_C)), np.lexsort((-videos_C, -size_C))
    for cell in np.stack(orders, axis=1).ravel():
        if size_C[cell] < 2 or num_groups == MOST_GROUPS:
            return
        if is_taken_R[first_C[cell]]:
            continue
        model = first_C[cell]
        gap_R = np.linalg.norm(looked.sketch_RS - looked.sketch_RS[model], axis=1)
        is_same_R = (gap_R <= SAME * length_R[model]) & ~is_taken_R
        is_taken_R |= is_same_R
        if is_same_R.sum() > 1:
            num_groups += 1
            yield np.flatnonzero(is_same_R)


def _repeat(rows_C: NDArray[np.int64], looked: LookedAt, files: VideoFiles) -> Repeat:
    places, first_of = np.unique(looked.video_R[rows_C], return_index=True)
    shots: list[Shot] = []
    for place, index in zip(places, first_of, strict=True):
        row = int(looked.row_R[rows_C[index]])
        (shot,) = files.shots(looked.video_ids[place], [row], height=SHOT_HEIGHT)
        shots.append(shot)
        if sum(one.jpeg is not None for one in shots) == LOOKS or len(shots) == 4 * LOOKS:
            break
    lumas = [_luma(shot.jpeg) for shot in shots if shot.jpeg is not None]
    return Repeat(
        rows_C=rows_C,
        num_videos=len(places),
        shot=next((shot for shot in shots if shot.jpeg is not None), shots[0]),
        luma=max(lumas, default=None),
    )


def _luma(jpeg: bytes) -> float:
    from PIL import Image

    return float(np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).mean())
