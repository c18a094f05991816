"""Labels of stretches of video from a table, to colour rows by.

The table is CSV with the columns ``video``, ``start``, ``end`` and ``text``, as ``vllm-predict
--format csv`` writes it; of what has a rank only the first counts.
"""

import csv
from bisect import bisect_right
from collections import defaultdict
from pathlib import Path

from cache_schema.errors import AnnotationError

__all__ = ["Labels", "read_labels"]

COLUMNS = {"video", "start", "end", "text"}
KINDS = {None, "", "segment", "now"}
"""Of what ``vllm-predict`` says; the rest says nothing of the stretch itself, or much of little."""


class Labels:
    """Labelled stretches ``[start, end)`` of videos, in seconds."""

    def __init__(self, stretches: dict[str, list[tuple[float, float, str]]]) -> None:
        self._stretches = {video: sorted(found) for video, found in stretches.items()}

    def at(self, video_id: str, seconds: float) -> str | None:
        """Return the label at a second; where stretches overlap, that which begins last."""
        found = self._stretches.get(video_id, [])
        for start, end, text in reversed(found[: bisect_right(found, (seconds, float("inf")))]):
            if start <= seconds < end:
                return text
        return None


def read_labels(path: Path) -> Labels:
    """Read a table of labels.

    Raises:
        AnnotationError: if it is no such table.
    """
    stretches: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            missing = COLUMNS - set(table.fieldnames or ())
            if missing:
                raise AnnotationError(
                    f"{path}: has no column {', '.join(sorted(missing))}. A table of labels has "
                    "the columns video, start, end and text."
                )
            for line in table:
                is_first = line.get("rank") in {None, "", "1"}
                if is_first and line["text"] and line.get("kind") in KINDS:
                    stretches[line["video"]].append(_stretch(line))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path}: cannot be read as a table ({error}).") from error
    except ValueError as error:
        raise AnnotationError(f"{path}: {error}; start and end are seconds.") from error
    return Labels(stretches)


def _stretch(line: dict[str, str]) -> tuple[float, float, str]:
    # An apostrophe before text keeps spreadsheets from running it; it is no part of it.
    return float(line["start"]), float(line["end"]), line["text"].removeprefix("'")
