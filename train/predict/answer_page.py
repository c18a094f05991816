"""``--html``: the page of what is said of some videos."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from cache_schema.errors import ConfigError
from cache_schema.page.document import duration, write_page
from cache_schema.place import Place
from cache_schema.stream import Stream
from train.answer import Answer, merged
from train.pages.media import Media, MediaShelf
from train.pages.view import MEASURES, VideoView
from train.pages.view_file import ViewFile, Views, ViewWriter, summed
from train.predict.ensemble import Ensemble
from train.task import Sample, Subset
from train.tasks import AnyTask

__all__ = ["known_truth", "open_views", "write_answer_page"]

SUBSETS: tuple[Subset, ...] = ("train", "val")


@contextmanager
def open_views(page: Path) -> Iterator[ViewWriter]:
    """Give what collects views until the page is written.

    Raises:
        ConfigError: if the page cannot lie there.
    """
    if page.is_dir():
        raise ConfigError(f"--html {page}: is a folder, expected a file. Name a file in it.")
    with (
        tempfile.TemporaryDirectory(prefix="vllm-page-") as folder,
        ViewWriter(Path(folder) / "views.jsonl") as views,
    ):
        yield views


def known_truth(task: AnyTask | None, streams: Sequence[Stream]) -> Callable[[str], Answer | None]:
    """Return what says what is annotated of a video, in either subset.

    Args:
        task: The annotated half of a run's task; None where there are no annotations.
        streams: Whose ids are asked for; annotations may name a video without its folder.
    """
    if task is None:
        return lambda video_id: None
    samples = _samples_by_video(task, streams)

    def truth(video_id: str) -> Answer | None:
        said = [task.truth(sample) for sample in samples[video_id]]
        known = [one for one in said if one is not None]
        return merged(known) if known else None

    return truth


def _samples_by_video(task: AnyTask, streams: Sequence[Stream]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    for subset in SUBSETS:
        for sample in task.samples(subset):
            for name in {stream.resolve(sample.video_id) for stream in streams}:
                if name is not None:
                    samples[name].append(sample)
    return samples


def write_answer_page(
    page: Path,
    views: ViewFile,
    ensemble: Ensemble,
    stream: Stream,
    *,
    store: Place | None,
    quiet: bool,
) -> None:
    """Write the page of some videos.

    Args:
        page: Where.
        views: What is said of them, and what is annotated.
        ensemble: Who said it.
        stream: Knows where the videos lie.
        store: Of the stream; None if it goes away.
        quiet: Whether no bar is shown.
    """
    # Here: it draws, and what draws takes a fifth of a second to import.
    from train.pages.predictions_page import predictions_page

    total = summed(views)
    shelf = MediaShelf(page)
    with tqdm(desc="page", total=len(total.summaries), unit="video", disable=quiet) as bar:

        def media(view: VideoView) -> Media:
            bar.update()
            return shelf.media_of(view, stream, store)

        title = f"{ensemble.facts.name.replace('_', ' ').capitalize()}: answers"
        about = _about(ensemble, total)
        write_page(predictions_page(title, about, views, total, media), page)


def _about(ensemble: Ensemble, total: Views) -> list[tuple[str, str]]:
    seconds = sum(one.duration for one in total.summaries)
    facts = [
        ("said by", ", ".join(str(run.where.parent) for run in ensemble.runs)),
        ("videos", f"{len(total.summaries)}, {duration(seconds)}"),
    ]
    if total.score is not None:
        facts.append(("right", f"{100 * total.score:.1f} % ({MEASURES[total.unit]})"))
    return [*facts, ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))]
