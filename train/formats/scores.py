"""What a head said before it was decoded, as an npz file; docs/predictions.md is its prose.

Shapes: R rows of a video, T rows of a window, W windows of a video, P = 1 + T places.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import ConfigError
from cache_schema.writing.durable import make_folders, replaced_file
from train.formats.writer import Writer
from train.npz import add_array
from train.task import SampleOutput, TaskFacts

__all__ = ["ScoreWriter"]

Arrays = Mapping[str, NDArray[Any]]


class ScoreWriter(Writer):
    """Write a file of scores, video by video; it is whole or absent."""

    def __init__(self, path: Path, facts: TaskFacts) -> None:
        """Start a file.

        Args:
            path: Ends in ``.npz``.
            facts: Of the task whose head speaks.

        Raises:
            ConfigError: if the path is no file's, or the task's head gives no scores.
        """
        if facts.entries == "words":
            raise ConfigError(
                f"--scores {path}: task {facts.name} has none, its head writes words. "
                "Leave --scores out."
            )
        if path.suffix != ".npz" or path.is_dir():
            raise ConfigError(f"--scores {path}: expected a file that ends in .npz.")
        super().__init__()
        self._facts = facts
        make_folders(path.parent)
        temporary = self._open.enter_context(replaced_file(path))
        self._archive = self._open.enter_context(zipfile.ZipFile(temporary, "w"))

    def write(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> None:
        """Write the scores of one video.

        Args:
            outputs: One, or one for each query.
            queries: As they were asked; none for tasks without.
        """
        video = outputs[0].sample.video_id
        self._add(video, {"times": outputs[0].times_R2.astype(np.float64)})
        if self._facts.query_place == "none":
            (output,) = outputs
            self._add(video, self._scores(output))
            return
        self._add(video, {"queries": np.array(queries)})
        for number, (output, _) in enumerate(zip(outputs, queries, strict=True)):
            self._add(f"{video}/{number}", self._scores(output))

    def _add(self, folder: str, arrays: Arrays) -> None:
        for name, values in arrays.items():
            add_array(self._archive, f"{folder}/{name}", values)

    def _scores(self, output: SampleOutput) -> Arrays:
        names = output.windows[0].arrays
        if self._facts.entries == "rows":
            return {name: output.rows(name).astype(np.float32, copy=False) for name in names}
        spans = [(one.window.start, one.window.stop) for one in output.windows]
        scores = {name: np.stack([*self._windows(output, name)]) for name in names}
        return {"windows": np.array(spans, np.int64), **scores}

    def _windows(self, output: SampleOutput, name: str) -> Iterator[NDArray[np.float32]]:
        """Yield an output window by window, all of one shape.

        Batches have padded places to their longest window. What is not the window's own is cut
        off, and shorter windows are filled up to the video's longest with what softmax ignores.
        """
        most = max(one.window.num_rows for one in output.windows)
        for one in output.windows:
            scores = one.arrays[name].astype(np.float32)
            if self._facts.entries == "places" and scores.ndim == 1:
                own = scores[: 1 + one.window.num_rows]
                behind = (0, 1 + most - len(own))
                scores = np.pad(own, behind, constant_values=-np.inf)
            yield scores
