"""What a run's scores are on single videos, by any task's own evaluator.

A metric that pools all videos, such as an average precision, is not the mean of these; they serve
to compare two runs video by video.

Shapes: V videos, K metrics.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.arena_bootstrap import VideoScores
from cache_schema.errors import AnnotationError
from cache_schema.place import to_place
from train.predict.ensemble import Ensemble, open_runs
from train.predict.subset import predict_subset

__all__ = ["ByVideo", "as_video_scores", "scores_by_video"]

ByVideo = dict[str, dict[str, float | None]]
KEPT = "scores-by-video.json"


def scores_by_video(run: Path, annotations: Path, store: str) -> ByVideo:
    """Return validation video -> metric -> score; a video that cannot be scored has none.

    They are kept in the run's folder.

    Args:
        run: Its folder.
        annotations: Our own annotation file, a line for each video.
        store: With the run's features.
    """
    kept = run / KEPT
    if not kept.exists():
        ensemble = open_runs([run], device="cpu", task_name="", options={})
        with tempfile.TemporaryDirectory() as name:
            found = {
                video: _score(ensemble, only, store)
                for video, only in _single_videos(annotations, Path(name))
            }
        kept.write_text(json.dumps(found))
    by_video: ByVideo = json.loads(kept.read_text())
    return by_video


def _single_videos(annotations: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the annotations with one of their validation videos at a time.

    The training videos stay: the classes are theirs.
    """
    lines = annotations.read_text().splitlines()
    subset_of = {line: json.loads(line)["subset"] for line in lines}
    learned = [line for line in lines if subset_of[line] == "train"]
    for number, line in enumerate(lines):
        if subset_of[line] == "val":
            path = folder / f"{number}.jsonl"
            path.write_text("".join(f"{one}\n" for one in [*learned, line]))
            yield json.loads(line)["video"], path


def _score(ensemble: Ensemble, annotations: Path, store: str) -> dict[str, float | None]:
    said = predict_subset(
        ensemble,
        to_place(store),
        subset="val",
        stream_names=(),
        annotations=str(annotations),
        allow_missing=0,
    )
    predictions = annotations.with_suffix(".predictions")
    try:
        said.task.write_predictions(said.outputs, predictions)
        return said.task.score(predictions)
    except AnnotationError:  # such as a video too short to ask for its long-term future
        return {}


def as_video_scores(by_video: ByVideo, metrics: Sequence[str]) -> VideoScores:
    """Return scores (V, K) for a paired test, in the order of the videos' ids.

    What a video has no score of weighs nothing.
    """
    values_VK = np.array([_values(by_video[video], metrics) for video in sorted(by_video)])
    is_scored_VK = np.isfinite(values_VK)
    return VideoScores(
        values_VK=np.where(is_scored_VK, values_VK, 0), weights_VK=is_scored_VK.astype(np.float64)
    )


def _values(scores: Mapping[str, float | None], metrics: Sequence[str]) -> list[float]:
    found = (scores.get(metric) for metric in metrics)
    return [np.nan if value is None else value for value in found]
