"""Logistic regression on frozen rows: what a network has to be better than.

It says what a head says, one score for each class of each row, so that samples, labels of rows,
decoders and predictions are those of the project's own task.

Shapes: R rows of a video, N of all training videos, C channels, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cache_schema.stream import FeatureRows
from train.model.translator import mean_of_past
from train.task import IGNORED, Sample, SampleOutput, Window, WindowOutput
from train.tasks.action_segmentation import ActionSegmentation

__all__ = ["Logistic"]

UNSEEN = -50.0
"""Log-probability of a class that no training row has."""

Rows = Mapping[str, FeatureRows]
Values = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic:
    """Logistic regression on mean-pooled rows, with or without their differences."""

    differences: bool
    pooled: int
    """Rows of the mean: each row and those before it, fewer at the beginning."""
    c: float
    """Inverse strength of its regularisation."""

    def read(self, task: ActionSegmentation, rows: Rows) -> list[SampleOutput]:
        """Learn from a split's training videos; return what it says about the test videos.

        Args:
            task: With the split.
            rows: Of all videos.
        """
        model = self._fitted(task, rows)
        num_classes = len(task.answers.knowledge.class_names)
        said = []
        for sample in task.samples("val"):
            own = rows[sample.video_id]
            scores_RK = np.full((len(own.times_R2), num_classes), UNSEEN, np.float32)
            scores_RK[:, model.classes_] = model.predict_log_proba(self._inputs(own))
            output = WindowOutput(window=_whole(own), arrays={"current": scores_RK})
            said.append(SampleOutput(sample=sample, times_R2=own.times_R2, windows=[output]))
        return said

    def _fitted(self, task: ActionSegmentation, rows: Rows) -> Any:  # noqa: ANN401 - a pipeline
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        samples = task.samples("train")
        inputs_NC = np.concatenate([self._inputs(rows[one.video_id]) for one in samples])
        labels_N = np.concatenate([_labels(task, one, rows[one.video_id]) for one in samples])
        known_N = labels_N != IGNORED
        model = make_pipeline(StandardScaler(), LogisticRegression(C=self.c, max_iter=300))
        return model.fit(inputs_NC[known_N], labels_N[known_N])

    def _inputs(self, rows: FeatureRows) -> Values:
        """Return mean-pooled rows, and beside them their mean-pooled differences."""
        rows_RC = rows.float32
        if not self.differences:
            return _recent_mean(rows_RC, self.pooled)
        motion_RC = np.diff(rows_RC, axis=0, prepend=rows_RC[:1])
        return np.hstack([_recent_mean(one, self.pooled) for one in (rows_RC, motion_RC)])


def _recent_mean(rows_RC: Values, pooled: int) -> Values:
    """Return what ``translator.pool_rows`` makes of rows."""
    pooled_RC: Values = mean_of_past(torch.from_numpy(rows_RC)[None], pooled)[0].numpy()
    return pooled_RC


def _labels(task: ActionSegmentation, sample: Sample, rows: FeatureRows) -> NDArray[np.int64]:
    """Return the class of each row of a video, ``IGNORED`` behind its last label."""
    return task.targets(sample, rows.times_R2, _whole(rows))["current"]


def _whole(rows: FeatureRows) -> Window:
    return Window(sample=0, start=0, stop=len(rows.times_R2))
