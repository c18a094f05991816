"""A map of rows: their first two principal components.

PCA, since distances in it mean something, it needs no settings and says how much of the variance
it shows. t-SNE and UMAP draw groups also where there are none.

Shapes: M rows that are shown, D feature dim.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache_schema.stream import Stream
from extract.store_page.labels import Labels
from extract.store_page.rows import LookedAt

__all__ = ["MapPoint", "RowMap", "map_rows"]

NUM_COLOURS = 9
OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class MapPoint:
    """One row."""

    x: float
    y: float
    video_id: str
    seconds: float
    """Middle of the row."""
    share: float
    """Of the video's duration, 0 to 1."""
    group: str
    """The top folder of the video's id, or the id; ``other`` for all but the most frequent."""
    label: str | None
    """None without labels, and where there is none."""


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """Rows in the plane that shows most of their variance."""

    points: list[MapPoint]
    shares: tuple[float, float]
    """Of the variance, along x and y."""


def map_rows(stream: Stream, looked: LookedAt, labels: Labels | None) -> RowMap:
    """Return the map of the rows whose values were kept."""
    xy_M2, shares = _components(looked.kept_MD)
    videos = [looked.video_ids[place] for place in looked.video_R[looked.kept_M]]
    rows = looked.row_R[looked.kept_M]
    groups = _most_frequent(_groups(videos))
    times = {video_id: stream.times(video_id) for video_id in set(videos)}
    points, texts = [], []
    for (x, y), video_id, row, group in zip(xy_M2, videos, rows, groups, strict=True):
        seconds = float(times[video_id][row].mean())
        texts.append(labels.at(video_id, seconds) if labels else None)
        points.append(
            MapPoint(
                x=float(x),
                y=float(y),
                video_id=video_id,
                seconds=seconds,
                share=min(1.0, seconds / stream.commit(video_id).video.duration_seconds),
                group=group,
                label=texts[-1],
            )
        )
    return RowMap(points=points, shares=shares)


def _components(rows_MD: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    from sklearn.decomposition import PCA

    if min(rows_MD.shape) < 2 or not np.ptp(rows_MD, axis=0).any():
        return np.zeros((len(rows_MD), 2)), (0.0, 0.0)
    model = PCA(2, svd_solver="covariance_eigh")
    xy_M2 = model.fit_transform(rows_MD.astype(np.float64))
    first, second = model.explained_variance_ratio_
    return xy_M2, (float(first), float(second))


def _groups(video_ids: Sequence[str]) -> list[str]:
    """Return the first folders of ids that tells them apart, or the ids."""
    tops = [video_id.partition("/")[0] for video_id in video_ids]
    return tops if len(set(tops)) > 1 else list(video_ids)


def _most_frequent(names: Sequence[str]) -> list[str]:
    counts = Counter(names)
    if len(counts) <= NUM_COLOURS + 1:
        return list(names)
    kept = {name for name, _ in counts.most_common(NUM_COLOURS)}
    return [name if name in kept else OTHER for name in names]
