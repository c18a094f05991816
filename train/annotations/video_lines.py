"""Our own annotation format: one JSON object per video, for people with their own videos.

    {"video": "kitchen/0007", "subset": "train", "duration": 92.4,
     "actions":    [{"start": 1.0, "end": 3.2, "label": "stir"}],
     "moments":    [{"start": 0.0, "end": 20.5, "label": "cooking"}],
     "queries":    [{"query": "where did i put the spoon?", "start": 7.5, "end": 9.0}],
     "captions":   [{"time": 2.0, "text": "#C C stirs the soup"}],
     "highlights": [{"query": "the soup boils", "saliency": [0, 0, 3, 4]}]}

A file (``.jsonl``) serves every task whose field its lines have. An empty list says that there is
nothing in the video. Times are seconds from its start. Unknown keys are errors. File in,
a ``VideoLine`` of each video out.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cache_schema.parsing import record
from train.annotations.json_file import read_json_lines
from train.annotations.reading import line_error

__all__ = [
    "ActionLine",
    "CaptionLine",
    "HighlightLine",
    "MomentLine",
    "QueryLine",
    "VideoLine",
    "read_video_lines",
]


def _one_line(text: str) -> str:
    """Return a label without what is around it: submissions keep one on each line."""
    text = text.strip()
    if "\n" in text or "\r" in text:
        raise ValueError(f"{text!r} has a line break, expected a label of one line")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the text is empty")
    return text


Label = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(_not_blank)]
Seconds = Annotated[float, Field(ge=0)]
Saliency = Annotated[int, Field(ge=0, le=4)]


def _check_order(start: float, end: float) -> None:
    if end < start:
        raise ValueError(f"start is {start}, behind the end, {end}")


def _check_lasts(start: float, end: float) -> None:
    _check_order(start, end)
    if end == start:  # an end is exclusive, so that nothing would be labelled
        raise ValueError(f"start and end are {start}, which is no time at all")


@record
class ActionLine:
    """One action: a label, or a verb and a noun."""

    start: Seconds
    end: Seconds
    """Exclusive."""
    label: Label = ""
    verb: Label = ""
    noun: Label = ""

    def __post_init__(self) -> None:
        _check_lasts(self.start, self.end)
        if bool(self.label) == bool(self.verb):
            raise ValueError("an action has either a label, or a verb and perhaps a noun")

    @property
    def pair(self) -> tuple[str, str]:
        """Verb and noun; a label stands for the verb of no noun."""
        return (self.label or self.verb, self.noun)

    @property
    def name(self) -> str:
        """The label, or verb and noun in one word."""
        return self.label or f"{self.verb}_{self.noun}".rstrip("_")


@record
class MomentLine:
    """One instance of a moment class."""

    start: Seconds
    end: Seconds
    label: Label

    def __post_init__(self) -> None:
        _check_lasts(self.start, self.end)


@record
class QueryLine:
    """One question, and when the answer is to be seen."""

    start: Seconds
    end: Seconds
    query: Text

    def __post_init__(self) -> None:
        _check_order(self.start, self.end)


@record
class CaptionLine:
    """One sentence about one instant."""

    time: Seconds
    text: Text


@record
class HighlightLine:
    """A query, and how salient each 2-s clip of the video is to it."""

    query: Text
    saliency: list[Saliency | tuple[Saliency, Saliency, Saliency]]
    """0 to 4 for each clip, one number or one of each of three annotators."""


@record
class VideoLine:
    """Everything that is annotated of one video.

    An empty list says that there is nothing in the video, None that nobody has looked for it.
    """

    video: str
    """Its id in the store: the path below the extracted folder, without suffix."""
    subset: Literal["train", "val"]
    duration: Annotated[float, Field(gt=0)] | None = None
    """Seconds; moments, queries and the frames of actions need it."""
    actions: list[ActionLine] | None = None
    moments: list[MomentLine] | None = None
    queries: list[QueryLine] | None = None
    captions: list[CaptionLine] | None = None
    highlights: list[HighlightLine] | None = None

    def __post_init__(self) -> None:
        path = PurePosixPath(self.video)
        if path.is_absolute() or not path.parts or ".." in path.parts:
            raise ValueError(f"video is '{self.video}', expected a relative path without '..'")


def read_video_lines(path: Path) -> list[VideoLine]:
    """Return the videos in the order of the file.

    Raises:
        AnnotationError: naming file, line and field.
    """
    lines = read_json_lines(path, VideoLine)
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if line.video in seen:
            message = f"video '{line.video}' is in line {seen[line.video]} already."
            raise line_error(path, number, message)
        seen[line.video] = number
    return lines
