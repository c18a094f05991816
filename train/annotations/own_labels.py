"""Labels of one's own, in whichever form they are: docs/labels.md is for their authors.

    .jsonl       our own format, one JSON object per video (``video_lines``)
    .csv, .tsv   the same as a table, one record per segment (``video_table``)

File in, a ``VideoLine`` of each video out: no task knows which form they had.
"""

from collections.abc import Callable
from pathlib import Path

from cache_schema.errors import AnnotationError
from train.annotations.reading import OWN_FORMS, check_subset
from train.annotations.video_lines import VideoLine, read_video_lines
from train.annotations.video_table import read_video_table

__all__ = ["OwnLabels", "is_own_labels"]

READERS: dict[str, Callable[[Path], list[VideoLine]]] = {
    ".jsonl": read_video_lines,
    ".csv": read_video_table,
    ".tsv": read_video_table,
}
LISTS = ("actions", "moments", "queries", "captions")
"""What a line says of its video, of which evaluators count each."""

OFFICIAL_SUFFIX = ".json"
"""Of single files that official releases are read from."""


def is_own_labels(path: Path) -> bool:
    """Tell labels of one's own by the suffix, so that a damaged file is read and its line named.

    QVHighlights' files, which have the suffix of ours, are told by ``is_qvhighlights``.

    Raises:
        AnnotationError: It is a file of a form that nothing reads.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return False
    if suffix not in READERS and suffix != OFFICIAL_SUFFIX and path.is_file():
        raise AnnotationError(
            f"{path}: no labels are read from a file with the suffix '{path.suffix}'. {OWN_FORMS}"
        )
    return suffix in READERS


class OwnLabels:
    """One file; it is read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[VideoLine] | None = None

    def all(self) -> list[VideoLine]:
        """Return the videos in the order of the file.

        Raises:
            AnnotationError: naming file, line and field.
        """
        if self._lines is None:
            self._lines = READERS[self.path.suffix.lower()](self.path)
            for line in self._lines:
                self._check_said_once(line)
        return self._lines

    def _check_said_once(self, line: VideoLine) -> None:
        """Refuse what a copied record says again: evaluators would count it as not found."""
        for kind in LISTS:
            said = getattr(line, kind) or []
            if len(set(said)) < len(said):
                twice = next(one for one in said if said.count(one) > 1)
                raise AnnotationError(
                    f"{self.path}: video '{line.video}' says the same twice in '{kind}': {twice}. "
                    "Remove one."
                )

    def of(self, subset: str, kind: str) -> list[VideoLine]:
        """Return the videos of a subset that were annotated for a kind, such as ``actions``.

        Also those in which there is none: their list is empty.

        Raises:
            AnnotationError: There is none in any of them.
        """
        check_subset(subset)
        lines = [line for line in self.all() if line.subset == subset]
        if not any(getattr(line, kind) for line in lines):
            raise AnnotationError(
                f"{self.path}: no line of subset '{subset}' has '{kind}', which the task needs. "
                "docs/labels.md tells what files may say it."
            )
        return [line for line in lines if getattr(line, kind) is not None]

    def durations(self) -> dict[str, float]:
        """Return the seconds of each video whose line says them."""
        return {line.video: line.duration for line in self.all() if line.duration is not None}

    def duration(self, line: VideoLine) -> float:
        """Return the length of a video in seconds.

        Raises:
            AnnotationError: The line does not say it.
        """
        if line.duration is None:
            raise AnnotationError(
                f"{self.path}: video '{line.video}' has no 'duration', which the task needs. The "
                "store knows it: docs/labels.md tells how to copy it from there."
            )
        return line.duration
