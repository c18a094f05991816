"""Which share of the tokens of a batch is padding, on lengths as published.

    demo           48-second videos at 4 rows a second
    EK100          the 495 training videos of EPIC-KITCHENS-100, drawn from the quantiles below (of
                   ``EPIC_100_video_info.csv``); at 4 rows a second, as TeSTra's features, and at 1
    QVHighlights   the 7,218 training queries: a row for every 2 s of a video of 150 s (97 %) or of
                   120 to 148 s; words from the quantiles below; tokens are more than words by a
                   Poisson variable of mean 1.65, that of SmolLM2's tokenizer on the same queries

Windows and batches are those of the trainer and of the predictor with default settings; the tokens
of a batch are its windows times (longest window + longest query), as the model pads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.config import DataConfig, OptimConfig
from train.data.windows import (
    TaskWindows,
    epoch_batches,
    evaluation_windows,
    split,
    training_windows,
)
from train.task import Window

EK100_SECONDS = (
    *(10, 27, 52, 71, 98, 124, 149, 178, 207, 253, 318),
    *(374, 427, 498, 585, 719, 827, 1052, 1390, 1855, 3708),
)
"""Every twentieth of the training videos is shorter than the next of these."""
QVHIGHLIGHTS_WORDS = (4, 6, 6, 7, 7, 8, 8, 8, 9, 9, 10, 10, 11, 11, 12, 13, 13, 14, 16, 17, 44)
"""The same of the words of queries."""
MORE_TOKENS_THAN_WORDS = 1.65

DATA, OPTIM = DataConfig(), OptimConfig()
EPOCHS = 3


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of the samples of a data set."""

    rows: Sequence[int]
    words: Sequence[int] = ()
    tokens: Sequence[int] = ()
    """Of the queries, as the words."""


def draw(quantiles: Sequence[float], count: int, rng: np.random.Generator) -> np.ndarray:
    """Return values whose quantiles, at equal steps from 0 to 1, are given."""
    return np.interp(rng.random(count), np.linspace(0, 1, len(quantiles)), quantiles)


def distributions() -> dict[str, Lengths]:
    """Return the data sets by name."""
    rng = np.random.default_rng(0)
    seconds = draw(EK100_SECONDS, 495, rng)
    count = 7218
    durations = np.where(rng.random(count) < 0.97, 150, rng.integers(60, 75, count) * 2)
    words = draw(QVHIGHLIGHTS_WORDS, count, rng).round().astype(int)
    tokens = words + rng.poisson(MORE_TOKENS_THAN_WORDS, count)
    return {
        "demo": Lengths(rows=[48 * 4] * 16),
        "EK100, 4 rows/s": Lengths(rows=(seconds * 4).astype(int).tolist()),
        "EK100, 1 row/s": Lengths(rows=seconds.astype(int).tolist()),
        "QVHighlights": Lengths(
            rows=(durations // 2).tolist(), words=words.tolist(), tokens=tokens.tolist()
        ),
    }


def share(batches: Sequence[Sequence[Window]], tokens: Sequence[int]) -> float:
    """Return padding / all tokens of batches; tokens are those of each sample's query."""
    used = total = 0
    for batch in batches:
        rows = [window.num_rows for window in batch]
        queries = [tokens[window.sample] if tokens else 0 for window in batch]
        used += sum(rows) + sum(queries)
        total += len(batch) * (max(rows) + max(queries))
    return 1 - used / total


def measure(lengths: Lengths) -> dict[str, float]:
    """Return the shares in training, of batches in random order, and in prediction."""
    task = TaskWindows(lengths=lengths.rows, query_words=lengths.words)
    training: list[Sequence[Window]] = []
    in_order: list[Sequence[Window]] = []
    batch_size = OPTIM.training_batch(task.num_windows(DATA.window_rows))
    for epoch in range(EPOCHS):
        mixed = epoch_batches([task], DATA.window_rows, batch_size, seed=0, epoch=epoch)
        training += [part for _, part in mixed]
        windows = training_windows(lengths.rows, DATA.window_rows, seed=0, epoch=epoch)
        in_order += split(windows, batch_size)
    words = lengths.words or [0] * len(lengths.rows)
    order = sorted(range(len(words)), key=lambda place: (-lengths.rows[place], -words[place]))
    predicted = evaluation_windows(
        [lengths.rows[place] for place in order], DATA.window_rows, DATA.context_rows
    )
    tokens = [lengths.tokens[place] for place in order] if lengths.tokens else []
    return {
        "training": share(training, lengths.tokens),
        "training, random order": share(in_order, lengths.tokens),
        "prediction": share(split(predicted, OPTIM.evaluation_batch), tokens),
    }
