"""The folder a demo set lives in: made whole, made again unchanged, never mixed with other files.

Data in: a folder and a `DemoSpec`. Data out: videos/, annotations/, README.txt and demo.json (what
the set was made from; written first, so that a set whose making was interrupted is recognised and
finished by the next run).
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from demo.annotations import write_annotations
from demo.grammar import FRAMES_PER_SECOND
from demo.scenes import render_frames
from demo.text_file import write_json, write_text
from demo.truth import DemoSpec, DemoTruth, VideoTruth, make_truth
from demo.video_file import write_video

IDENTITY_FILE = "demo.json"
FORMAT_VERSION = 1

README = """Demo set: generated videos with exact labels for eight video tasks.

videos/        {video_count} H.264 files of {seconds} s, {width}x{height}, {rate} frames per second.
annotations/   one folder per task, each in the official format of its benchmark.
demo.json      what the set was made from; equal values give equal files.

The pictures are photographs that scikit-image ships, moved over textured backgrounds.
docs/demo.md in the source tree describes the classes and the files.
"""


class DemoFolderError(Exception):
    """The output folder holds something that must not be written over."""


def write_demo(folder: Path, spec: DemoSpec) -> Iterator[VideoTruth]:
    """Write a demo set; yields each video as soon as its file exists, so iterate to the end.

    Raises:
        DemoFolderError: the folder holds other files, or a demo set made from another spec.
    """
    truth = make_truth(spec)
    _claim(folder, spec)
    write_text(folder / "README.txt", _readme(truth))
    write_annotations(folder / "annotations", truth)
    (folder / "videos").mkdir(exist_ok=True)
    for video in truth.videos:
        write_video(
            folder / "videos" / f"{video.video_id}.mp4",
            render_frames(video, spec),
            width=spec.width,
            height=spec.height,
            frames_per_second=FRAMES_PER_SECOND,
        )
        yield video


def _claim(folder: Path, spec: DemoSpec) -> None:
    """Make the folder ours, or find that it already is."""
    identity = {"demo_format": FORMAT_VERSION, **asdict(spec)}
    identity_file = folder / IDENTITY_FILE
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        write_json(identity_file, identity)
        return
    found = _read_identity(identity_file)
    if found is None:
        message = (
            f"output folder {folder} is not empty and no demo set (no readable {IDENTITY_FILE}): "
            "choose a new or empty folder"
        )
        raise DemoFolderError(message)
    if found != identity:
        message = (
            f"output folder {folder} holds a demo set made from {found}, not from {identity}: "
            "choose another folder or remove that one"
        )
        raise DemoFolderError(message)


def _read_identity(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _readme(truth: DemoTruth) -> str:
    spec = truth.spec
    return README.format(
        video_count=len(truth.videos),
        seconds=spec.seconds,
        width=spec.width,
        height=spec.height,
        rate=FRAMES_PER_SECOND,
    )
