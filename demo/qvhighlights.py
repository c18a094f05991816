"""Write QVHighlights files: highlight detection.

Data in: `DemoTruth`. Data out: highlight_{train,val}.jsonl. A query asks for a noun or for a verb;
a 2-s clip of the video is the more salient, the more of it shows what the query asks for.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demo.grammar import FRAMES_PER_SECOND, Segment
from demo.text_file import write_json_lines
from demo.truth import DemoTruth, Split, VideoTruth
from demo.vocabulary import NOUNS, VERBS

CLIP_SECONDS = 2
CLIP_FRAMES = CLIP_SECONDS * FRAMES_PER_SECOND
LEAST_RELEVANT_SHARE = 0.25
"""A clip is relevant if it shows at least this part of what the best clip shows."""
ANNOTATOR_THRESHOLDS = ((0.1, 0.35, 0.6, 0.85), (0.05, 0.3, 0.5, 0.7), (0.3, 0.45, 0.7, 0.95))
"""Each annotator gives a point per threshold reached: the second is generous, the third strict."""
FIRST_QID: dict[Split, int] = {"train": 10_000, "val": 20_000}


def write_highlights(folder: Path, truth: DemoTruth) -> None:
    """Write one line per video and query."""
    for split, first_qid in FIRST_QID.items():
        rows = [row for video in truth.of_split(split) for row in _video_rows(video)]
        numbered = [{"qid": first_qid + index, **row} for index, row in enumerate(rows)]
        write_json_lines(folder / f"highlight_{split}.jsonl", numbered)


def saliency(share: float) -> list[int]:
    """Return the scores (0 to 4) of the three annotators for a clip.

    Args:
        share: frames of the clip that show what is asked for, as a part of the best clip's.
    """
    return [
        sum(share >= threshold for threshold in thresholds) for thresholds in ANNOTATOR_THRESHOLDS
    ]


def _video_rows(video: VideoTruth) -> Iterator[dict[str, object]]:
    for query, asked in _queries(video):
        shown = _shown_frames(video, asked)
        if any(shown):
            yield _row(video, query, shown)


def _queries(video: VideoTruth) -> Iterator[tuple[str, list[Segment]]]:
    for noun in NOUNS:
        asked = [segment for segment in video.segments if segment.action.noun == noun.key]
        yield f"The {noun.key} is on the screen.", asked
    for verb in VERBS:
        asked = [segment for segment in video.segments if segment.action.verb == verb.key]
        yield verb.scene, asked


def _row(video: VideoTruth, query: str, shown_frames: list[int]) -> dict[str, object]:
    shares = [frames / max(shown_frames) for frames in shown_frames]
    relevant = [clip for clip, share in enumerate(shares) if share >= LEAST_RELEVANT_SHARE]
    return {
        "query": query,
        "duration": video.frame_count // FRAMES_PER_SECOND,
        "vid": video.video_id,
        "relevant_windows": _windows(relevant),
        "relevant_clip_ids": relevant,
        "saliency_scores": [saliency(shares[clip]) for clip in relevant],
    }


def _shown_frames(video: VideoTruth, asked: list[Segment]) -> list[int]:
    """Return for every whole clip of the video how many of its frames show what is asked for."""
    shown = np.zeros(video.frame_count, dtype=np.int64)
    for segment in asked:
        shown[segment.start_frame : segment.end_frame] = 1
    whole = video.frame_count // CLIP_FRAMES * CLIP_FRAMES
    counts: list[int] = shown[:whole].reshape(-1, CLIP_FRAMES).sum(axis=1).tolist()
    return counts


def _windows(clips: list[int]) -> list[list[int]]:
    """Return the runs of neighbouring clips as [start, end) seconds."""
    starts = [clip for clip in clips if clip - 1 not in clips]
    ends = [clip + 1 for clip in clips if clip + 1 not in clips]
    pairs = zip(starts, ends, strict=True)
    return [[start * CLIP_SECONDS, end * CLIP_SECONDS] for start, end in pairs]
