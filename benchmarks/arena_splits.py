"""Who is trained on and who is tested: of each fold, inside it, and with fewer labels.

Inside a fold the videos of the next fold are held out. Every fifth training video would not do:
folds part people, cameras or classifiers from each other, and a setting that is chosen on videos
of people that were learned from is chosen for another question. (On 50Salads it promised a GRU
57.5 points, and the test folds gave 51.)
"""

from collections.abc import Mapping

__all__ = ["INNER", "SHARES", "splits_of"]

INNER = 100
"""Added to a fold's number: its training videos, some of them held out."""
SHARES = {100: 0, 50: 1000, 25: 2000}
"""Percent of the training videos: added to a fold's number."""
HELD_OUT = 5
"""Of two folds, every so manyth training video is held out: nothing else would be left."""

Split = tuple[list[str], list[str]]
"""Training and test videos."""


def splits_of(folds: Mapping[str, int]) -> dict[int, Split]:
    """Return the videos of every split by its number.

    Args:
        folds: The test fold of each video.
    """
    numbers = sorted(set(folds.values()))
    splits: dict[int, Split] = {}
    for fold, following in zip(numbers, [*numbers[1:], numbers[0]], strict=True):
        test = [video for video in folds if folds[video] == fold]
        rest = [video for video in folds if folds[video] != fold]
        for share, number in SHARES.items():
            splits[number + fold] = (rest[:: 100 // share], test)
        of_next = [video for video in rest if folds[video] == following]
        held_out = of_next if len(numbers) > 2 else rest[::HELD_OUT]
        splits[INNER + fold] = ([video for video in rest if video not in held_out], held_out)
    return splits
