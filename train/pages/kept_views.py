"""Views of a run's validation videos, kept in its folder while the best checkpoint is scored."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cache_schema.writing.durable import make_folders, replaced_file
from train.pages.sample_views import sample_view
from train.pages.view import VideoView
from train.pages.view_file import ViewWriter
from train.task import SampleOutput, Task

__all__ = ["kept"]

logger = logging.getLogger(__name__)


def kept(
    task: Task[Any, Any], outputs: Iterable[SampleOutput], path: Path
) -> Iterator[SampleOutput]:
    """Pass outputs on one by one, and keep the view of each.

    A view that cannot be made is a warning, and none are kept then: outputs are passed on in any
    case, since the scores of a run are made of them.

    Args:
        task: Knows what they mean.
        outputs: Of samples of the task.
        path: The views' file; appears whole, once all outputs have passed.

    Raises:
        OSError: if the file cannot be written.
    """
    make_folders(path.parent)
    path.unlink(missing_ok=True)  # of an earlier turn
    is_whole = True
    with replaced_file(path) as temporary, ViewWriter(temporary) as writer:
        for output in outputs:
            yield output
            view = _view(task, output) if is_whole else None
            is_whole = view is not None
            if view is not None:
                writer.write(view)
    if not is_whole:
        path.unlink()


def _view(task: Task[Any, Any], output: SampleOutput) -> VideoView | None:
    try:
        return sample_view(task, output)
    except Exception as error:  # of other packages' tasks, too
        logger.warning(
            "warning: the page will show no single videos (%s: %s: %s).",
            output.sample.video_id,
            type(error).__name__,
            error,
        )
        return None
