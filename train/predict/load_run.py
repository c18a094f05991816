"""A trained run for Python: load it, ask it about a store, about rows, or about video files."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cache_schema.errors import (
    ConfigError,
    RecipeMismatchError,
    StoreError,
    StoreNotFoundError,
)
from cache_schema.memory import memory_stream
from cache_schema.place import Place, to_place
from cache_schema.recipe import Recipe
from cache_schema.store import Store, open_store
from cache_schema.stream import Stream
from extract import Failure, KeptEncoders
from train.answer import Answer, StreamedRow
from train.checkpoints.checkpoint import check_stream
from train.predict.answering import answer_videos, named_videos
from train.predict.ensemble import Ensemble, open_runs
from train.predict.live import Source, feed_of, name_of, row_stream_of
from train.runs import local_run
from train.stream.live import live_answers

__all__ = ["Run", "load_run"]

LARGEST_DEVIATION = 0.05
"""Of the usual time between rows, as a fraction: those at a video's cuts and ends differ."""

logger = logging.getLogger(__name__)


class Run:
    """One trained run, or several of one task that decide together. Made by ``load_run``."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self._encoders = KeptEncoders()

    def __repr__(self) -> str:
        return f"<Run {', '.join(str(run.where) for run in self._ensemble.runs)}: {self.task}>"

    @property
    def task(self) -> str:
        """Name of the task."""
        return self._ensemble.facts.name

    @property
    def labels(self) -> dict[str, list[str]]:
        """Output of the head -> name of each class, where its last dimension is classes."""
        return {name: list(labels) for name, labels in self._ensemble.answers.labels().items()}

    @property
    def recipe(self) -> Recipe:
        """How the features were made that it was trained on, and wants."""
        return self._ensemble.runs[0].checkpoint.recipe

    def predict(
        self,
        features: str | Place | Store | Stream,
        videos: str | Iterable[str] | None = None,
        *,
        queries: str | Iterable[str] = (),
    ) -> Iterator[Answer]:
        """Say something about videos of a store, one by one.

        Args:
            features: A store, its path, or a stream.
            videos: Ids, or one; the last part of an id will do where it is the only one so named.
                None takes all.
            queries: What is asked, one text or several, for tasks that have queries.

        Raises:
            RecipeMismatchError: if the features were made another way than the run's.
            ConfigError: if the task needs queries and there are none, or the other way round.
            StoreError: if a video is not there.
        """
        streams = self._streams(features)
        ids = streams[0].video_ids if videos is None else named_videos(streams[0], _texts(videos))
        yield from self._answers(streams, ids, _texts(queries))

    def predict_rows(
        self,
        values: ArrayLike,
        times_R2: ArrayLike,
        *,
        queries: str | Iterable[str] = (),
        video: str = "video",
    ) -> Answer:
        """Say something about rows that lie in memory.

        Args:
            values: (R, D) or (R, N, D) features of one video, made by the run's recipe; only
                their shape and how far apart they are can be checked. An array, or what NumPy
                makes one of.
            times_R2: Start and end second of each row.
            queries: What is asked, one text or several, for tasks that have queries.
            video: What the answer calls it.

        Raises:
            RecipeMismatchError: if rows have another shape than those the run was trained on, or
                are closer together or farther apart.
            StoreError: if values or times are such as no store would take, or the name is no text.
        """
        if not isinstance(video, str):
            raise StoreError(f"video is {video!r}, expected its name as text, such as 'video'.")
        rows = _array("values", values), _array("times_R2", times_R2)
        stream = memory_stream(self.recipe, {video: rows})
        _check_spacing(self.recipe, stream.times(video))
        (answer,) = self.predict(stream, [video], queries=queries)
        return answer

    def predict_videos(
        self,
        videos: str | Path | Iterable[str | Path],
        *,
        features: str | Place | None = None,
        queries: str | Iterable[str] = (),
        encoder: str | None = None,
        workers: int = 1,
        failures: list[Failure] | None = None,
    ) -> Iterator[Answer]:
        """Say something about video files; those that cannot be used are named in the log.

        In one process the encoder stays loaded from one call to the next.

        Args:
            videos: Files, folders, glob patterns or .txt lists.
            features: Store that keeps their features; what it holds is not made again.
            queries: What is asked, one text or several, for tasks that have queries.
            encoder: Where to load the run's encoder from, if its name in the recipe is no place.
            workers: Processes that decode and encode.
            failures: Gets an entry for each video that cannot be used, before the first answer.
        """
        from train.predict.from_videos import features_of

        inputs = [videos] if isinstance(videos, str | Path) else videos
        with features_of(
            self._ensemble,
            list(map(str, inputs)),
            features=None if features is None else to_place(features),
            encoder=encoder,
            device=self._ensemble.runs[0].device.type,
            workers=workers,
            hides_progress=True,
            kept=self._encoders,
        ) as made:
            for failure in made.failures:
                logger.warning("%s (%s): %s", failure.video_id, failure.path, failure.error)
            if failures is not None:
                failures += made.failures
            yield from self._answers(made.streams, made.video_ids, _texts(queries))

    def _answers(
        self, streams: Sequence[Stream], video_ids: Sequence[str], queries: Sequence[str]
    ) -> Iterator[Answer]:
        for one in answer_videos(self._ensemble, streams, video_ids, queries):
            yield one.answer

    def stream(
        self, source: Source, *, encoder: str | None = None, realtime: bool = False
    ) -> Iterator[StreamedRow]:
        """Say something about each row of a source that is still running, as soon as it is there.

        Args:
            source: A file, ``-`` for standard input, an address such as ``rtsp://host/path``, a
                camera such as ``/dev/video0``; or frames in memory: RGB uint8 (H, W, 3), as many a
                second as the recipe's ``fps`` says, or pairs of second and frame. Seconds count
                from the stream's start: subtract the first where they are a clock's.
            encoder: Where to load the run's encoder from, if its name in the recipe is no place.
            realtime: Play a file at its own speed, and drop what the machine is too slow for.

        Raises:
            ConfigError: if the task answers for whole videos, or there are several runs.
            VideoError: if the source cannot be read.
        """
        rows = row_stream_of(self._ensemble)
        with feed_of(self._ensemble, source, encoder=encoder, realtime=realtime) as feed:
            yield from live_answers(rows, self._ensemble.answers, feed, video=name_of(source))

    def _streams(self, features: str | Place | Store | Stream) -> list[Stream]:
        if isinstance(features, Stream):
            for run in self._ensemble.runs:
                check_stream(features, run.checkpoint)
            return [features] * len(self._ensemble.runs)
        store = features if isinstance(features, Store) else _open_store(features)
        return [run.choose_stream(store) for run in self._ensemble.runs]


def load_run(
    *runs: str | Path,
    device: str = "auto",
    task: str = "",
    options: Mapping[str, object] | None = None,
) -> Run:
    """Load a trained run with its best checkpoint; no annotations are needed.

    Args:
        *runs: Folder of a run, of one of its checkpoints, or of numbered runs, whose newest is
            taken; or ``hf://user/name``, a run on a hub. Several runs of one task, such as seeds,
            decide together.
        device: ``auto``, ``cpu`` or ``cuda``.
        task: Which of its tasks, of a run that learned several.
        options: Task options that differ from the run's, such as ``{"decoder": "argmax"}``.

    Raises:
        CheckpointError: if there is no checkpoint, or it is damaged.
        ConfigError: if no run is named, it has not learned the task, or an option is wrong.
    """
    if not runs:
        raise ConfigError(
            "no run is named. Give the folder of one, such as load_run('runs/action_segmentation')."
        )
    folders = [local_run(run) for run in runs]
    return Run(open_runs(folders, device=device, task_name=task, options=options or {}))


def _open_store(place: str | Place) -> Store:
    try:
        return open_store(place)
    except StoreNotFoundError as error:
        where = to_place(place)
        if not (isinstance(where, Path) and where.exists()):
            raise
        raise StoreNotFoundError(
            f"{place}: is no feature store. If it is a video, or a folder of them, ask "
            "predict_videos."
        ) from error


def _texts(given: str | Iterable[str]) -> list[str]:
    """Return one text or several as a list; a text is no sequence of letters here."""
    return [given] if isinstance(given, str) else list(given)


def _array(name: str, given: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # of lists, and of torch's tensors
        raise StoreError(
            f"rows in memory: {name} is no array ({str(error).rstrip('.')}). Give NumPy's; of a "
            "tensor, tensor.detach().float().cpu().numpy()."
        ) from error


def _check_spacing(recipe: Recipe, times_R2: NDArray[np.float64]) -> None:
    """Refuse rows made at another rate: shapes are the same, and the answer would be wrong."""
    sampling = recipe.sampling
    if sampling.fps is None or len(times_R2) < 3:
        return
    expected = float(sampling.stride_frames / sampling.fps)
    found = float(np.median(np.diff(times_R2[:, 0])))
    if abs(found - expected) > LARGEST_DEVIATION * expected:
        raise RecipeMismatchError(
            f"rows are {found:.4g} s apart, those the run was trained on {expected:.4g} s. Make "
            "them by its recipe (run.recipe.sampling), or check that times are seconds."
        )
