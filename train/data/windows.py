"""Which rows make a window, and in which order windows are shown: pure arithmetic.

Rows count from the first row of their sample. Everything here is a function of its arguments
(seed, epoch, lengths), so a run goes on from any step, on any number of processes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from train.task import Window

__all__ = [
    "TaskWindows",
    "batches_by_length",
    "count_batches",
    "epoch_batches",
    "evaluation_windows",
    "split",
    "training_windows",
    "window_start",
]


CHUNK_BATCHES = 32
"""Batches among which windows of about one length find each other. Few keep the order random, many
leave less padding: docs/performance.md has the measurement."""


def count_crops(num_rows: int, window_rows: int) -> int:
    """Count the training crops of a sample: as many as show about every row once.

    Examples:
        >>> [count_crops(rows, 100) for rows in (1, 149, 151, 1000)]
        [1, 1, 2, 10]
    """
    return max(1, round(num_rows / window_rows))


def training_windows(
    lengths: Sequence[int], window_rows: int, *, seed: int, epoch: int, task: int = 0, turn: int = 0
) -> list[Window]:
    """Return crops that show about every row once, in random order.

    A sample shorter than a window is taken whole. The starts of a longer one are drawn one from
    each of as many equal stretches as it has crops, so they cover a long video evenly.

    Args:
        lengths: Rows of each sample.
        window_rows: Largest number of rows of a crop.
        seed: Of the run.
        epoch: From 0.
        task: Index of the task, of several.
        turn: How often this epoch has shown the rows already.
    """
    rng = np.random.default_rng((seed, epoch, task, turn))
    windows = []
    for sample, num_rows in enumerate(lengths):
        crops = count_crops(num_rows, window_rows)
        last_start = max(0, num_rows - window_rows)
        for position in (np.arange(crops) + rng.random(crops)) / crops:
            start = int(position * (last_start + 1))
            windows.append(
                Window(sample=sample, start=start, stop=min(start + window_rows, num_rows))
            )
    order = rng.permutation(len(windows))
    seeds = rng.integers(2**63, size=len(windows)).tolist()
    return [replace(windows[index], seed=seeds[index]) for index in order]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskWindows:
    """What one of the tasks of a run has to show."""

    lengths: Sequence[int]
    """Rows of each sample."""
    query_words: Sequence[int] = ()
    """Words of each sample's query, about as many as its tokens; empty where there are none."""
    weight: float = 1.0
    """How often an epoch shows the rows."""

    def num_windows(self, window_rows: int) -> int:
        """Return the crops of an epoch, at least one."""
        crops = sum(count_crops(rows, window_rows) for rows in self.lengths)
        return max(1, round(crops * self.weight))


def count_batches(tasks: Sequence[TaskWindows], window_rows: int, batch_size: int) -> int:
    """Count the batches of an epoch."""
    return sum(-(-task.num_windows(window_rows) // batch_size) for task in tasks)


def epoch_batches(
    tasks: Sequence[TaskWindows], window_rows: int, batch_size: int, *, seed: int, epoch: int
) -> list[tuple[int, Sequence[Window]]]:
    """Return the batches of an epoch as (index of the task, its windows), in random order.

    A batch holds windows of about one length, so that little of it is padding.
    """
    rng = np.random.default_rng((seed, epoch, len(tasks)))
    batches = []
    for index, task in enumerate(tasks):
        wanted = task.num_windows(window_rows)
        windows: list[Window] = []
        for turn in range(math.ceil(task.weight)):
            windows += training_windows(
                task.lengths, window_rows, seed=seed, epoch=epoch, task=index, turn=turn
            )
        parts = batches_by_length(windows[:wanted], task.query_words, batch_size, rng)
        batches += [(index, part) for part in parts]
    return [batches[place] for place in rng.permutation(len(batches))]


def batches_by_length(
    windows: Sequence[Window], query_words: Sequence[int], batch_size: int, rng: np.random.Generator
) -> list[Sequence[Window]]:
    """Cut windows into batches of neighbours in length.

    Neighbours are looked for among ``CHUNK_BATCHES`` batches of windows at a time, which are as
    random as the windows' order. If a last batch must be smaller, it may be any of its chunk's: it
    does not always hold the longest windows.

    Args:
        windows: In random order; of equal ones the order stays.
        query_words: See ``TaskWindows``.
        batch_size: Windows of a batch.
        rng: Draws the place of the smaller batch.
    """

    def tokens(window: Window) -> int:
        return window.num_rows + (query_words[window.sample] if query_words else 0)

    batches: list[Sequence[Window]] = []
    for chunk in split(windows, CHUNK_BATCHES * batch_size):
        ordered = sorted(chunk, key=tokens)
        whole, rest = divmod(len(ordered), batch_size)
        first = batch_size * int(rng.integers(whole + 1)) if rest else len(ordered)
        parts = [ordered[:first], ordered[first : first + rest], ordered[first + rest :]]
        batches += [batch for part in parts for batch in split(part, batch_size)]
    return batches


def evaluation_windows(lengths: Sequence[int], window_rows: int, context_rows: int) -> list[Window]:
    """Return windows that predict every row once, each with at least ``context_rows`` of past.

    The past of a row is what the sample has, up to ``context_rows``. Samples keep their order, and
    so do the rows of each.

    Examples:
        >>> [(w.start, w.stop, w.num_context) for w in evaluation_windows([10], 6, 2)]
        [(0, 6, 0), (4, 10, 2)]
    """
    windows = []
    for sample, num_rows in enumerate(lengths):
        predicted = 0
        while predicted < num_rows:
            start = max(0, predicted - context_rows)
            stop = min(start + window_rows, num_rows)
            windows.append(
                Window(sample=sample, start=start, stop=stop, num_context=predicted - start)
            )
            predicted = stop
    return windows


def window_start(row: int, window_rows: int, context_rows: int) -> int:
    """Return the first row of the evaluation window that predicts a row, without the length.

    >>> [window_start(row, 6, 2) for row in (0, 5, 6, 9, 10)]
    [0, 0, 4, 4, 8]
    """
    if row < window_rows:
        return 0
    new_rows = window_rows - context_rows  # of each window but the first
    return ((row - window_rows) // new_rows + 1) * new_rows


def split(windows: Sequence[Window], size: int) -> list[Sequence[Window]]:
    """Cut a sequence into runs of ``size``, the last one shorter; 0 does not cut."""
    step = size or max(1, len(windows))
    return [windows[first : first + step] for first in range(0, len(windows), step)]
