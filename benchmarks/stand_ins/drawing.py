"""Random numbers as data sets have them: by quantiles, by frequency, and names.

Shapes: K classes.
"""

import uuid
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["apportioned", "classes_by_weight", "random_uuid", "weights_by_rank", "words"]

NOUNS = [
    "bag",
    "board",
    "book",
    "bottle",
    "bowl",
    "box",
    "brush",
    "bucket",
    "can",
    "car",
    "chair",
    "cloth",
    "cup",
    "door",
    "drawer",
    "fork",
    "glass",
    "hammer",
    "jar",
    "key",
    "knife",
    "ladder",
    "lid",
    "lamp",
    "paper",
    "pan",
    "phone",
    "plate",
    "pot",
    "rope",
    "sack",
    "saw",
    "screw",
    "shelf",
    "sink",
    "spoon",
    "table",
    "tap",
    "tin",
    "towel",
    "tray",
    "wall",
    "wire",
    "wood",
]


def weights_by_rank(counts: Mapping[int, float], num_classes: int) -> NDArray[np.float64]:
    """Return each class's probability (K,), most frequent first.

    Args:
        counts: Rank, from 0, -> how often the class of this rank occurs, for some ranks; between
            them logarithms are interpolated.
        num_classes: K.
    """
    ranks = np.log1p(np.array(list(counts), np.float64))
    logs = np.log(np.array(list(counts.values()), np.float64))
    weights_K = np.exp(np.interp(np.log1p(np.arange(num_classes)), ranks, logs))
    probabilities_K: NDArray[np.float64] = weights_K / weights_K.sum()
    return probabilities_K


def classes_by_weight(
    weights_K: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw so many classes; each occurs, if there are enough draws."""
    once = rng.permutation(len(weights_K))[:count]
    drawn = rng.choice(len(weights_K), count - len(once), p=weights_K)
    return rng.permutation(np.concatenate([once, drawn]))


def apportioned(
    total: int, weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Cut a number into parts of about these weights, each at least one."""
    rest = max(0, total - len(weights))
    parts: NDArray[np.int64] = 1 + rng.multinomial(rest, weights / weights.sum())
    return parts


def random_uuid(rng: np.random.Generator) -> str:
    """Return a name such as Ego4D gives to videos and clips."""
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


def words(count: int, rng: np.random.Generator) -> str:
    """Return so many words."""
    return " ".join(NOUNS[index] for index in rng.integers(len(NOUNS), size=count))
