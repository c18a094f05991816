"""Stage 2: features -> translator -> LLM -> heads -> predictions and scores.

    from train import WindowDataset, rows_with_labels

Both are for training loops of one's own. The names listed here are the public ones. Everything
else, every module's path included, is private and may change in any release. torch comes with the
first name that needs it.
"""

from typing import TYPE_CHECKING

from cache_schema.lazy import lazy_names

if TYPE_CHECKING:
    from train.data.labelled_rows import LabelledRows, rows_with_labels
    from train.data.window_dataset import FeatureWindow, WindowDataset
    from train.task import IGNORED

__all__ = [
    "IGNORED",
    "FeatureWindow",
    "LabelledRows",
    "WindowDataset",
    "rows_with_labels",
]

_HOMES = {
    "train.data.labelled_rows": ["LabelledRows", "rows_with_labels"],
    "train.data.window_dataset": ["FeatureWindow", "WindowDataset"],
    "train.task": ["IGNORED"],
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker would believe any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
