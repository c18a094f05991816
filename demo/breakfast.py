"""Write Breakfast files: action segmentation.

Data in: `DemoTruth`. Data out: one label per frame and video, the class mapping and split 1 (test =
our val videos).
"""

from pathlib import Path

from demo.text_file import write_lines
from demo.truth import DemoTruth, Split, VideoTruth
from demo.vocabulary import ACTIONS

BACKGROUND = "SIL"
"""Breakfast's name for frames without an action."""
BUNDLE_OF_SPLIT: dict[Split, str] = {"train": "train.split1.bundle", "val": "test.split1.bundle"}


def write_breakfast(folder: Path, truth: DemoTruth) -> None:
    """Write ground truth, mapping and split files."""
    names = [BACKGROUND, *(action.name for action in ACTIONS)]
    write_lines(folder / "mapping.txt", (f"{index} {name}" for index, name in enumerate(names)))
    for video in truth.videos:
        write_lines(folder / "groundTruth" / f"{video.video_id}.txt", frame_labels(video))
    for split, bundle in BUNDLE_OF_SPLIT.items():
        videos = truth.of_split(split)
        write_lines(folder / "splits" / bundle, (f"{video.video_id}.txt" for video in videos))


def frame_labels(video: VideoTruth) -> list[str]:
    """Return the class name of every frame."""
    labels = [BACKGROUND] * video.frame_count
    for segment in video.segments:
        length = segment.end_frame - segment.start_frame
        labels[segment.start_frame : segment.end_frame] = [segment.action.name] * length
    return labels
