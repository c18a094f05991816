"""Views of an annotated subset, written while its outputs pass by on their way to a submission."""

from collections.abc import Iterable, Iterator
from typing import Any

from train.pages.showing import view_of
from train.pages.view import VideoView
from train.pages.view_file import ViewWriter
from train.task import SampleOutput, Task

__all__ = ["sample_view", "viewed"]


def viewed(
    task: Task[Any, Any], outputs: Iterable[SampleOutput], writer: ViewWriter
) -> Iterator[SampleOutput]:
    """Pass outputs on one by one, and write the view of each."""
    for output in outputs:
        writer.write(sample_view(task, output))
        yield output


def sample_view(task: Task[Any, Any], output: SampleOutput) -> VideoView:
    """Return what a page shows of a sample: what is said of it beside what is annotated."""
    rows = task.answers.row_classes(output)
    return view_of(task.said(output), task.truth(output.sample), task.facts, rows)
