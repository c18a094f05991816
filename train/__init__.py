"""Stage 2: features -> translator -> LLM -> heads -> predictions and scores.

    from train import load_run

    run = load_run("runs/action_segmentation")
    for answer in run.predict("feats.zarr"):
        print(answer.video, answer.segments)

``WindowDataset`` and ``rows_with_labels`` are for training loops of one's own, the other names for
those who write a task of their own (docs/extending.md). The names listed here are the public ones.
Everything else, every module's path included, is private and may change in any release. torch comes
with the first name that needs it.
"""

from typing import TYPE_CHECKING

from cache_schema.lazy import lazy_names

if TYPE_CHECKING:
    from cache_schema.parsing import record
    from train.answer import (
        Answer,
        Caption,
        ClassScore,
        Forecast,
        Future,
        QueryAnswer,
        Row,
        Segment,
        Span,
        as_json,
    )
    from train.data.labelled_rows import LabelledRows, rows_with_labels
    from train.data.window_dataset import FeatureWindow, WindowDataset
    from train.model.losses import cross_entropy_sum
    from train.predict.load_run import Run, load_run
    from train.task import (
        IGNORED,
        Answers,
        HeadContext,
        LossSum,
        Nothing,
        Sample,
        SampleOutput,
        States,
        Task,
        TaskFacts,
        Window,
        WindowOutput,
        whole_video,
    )
    from train.tasks import task_class

__all__ = [
    "IGNORED",
    "Answer",
    "Answers",
    "Caption",
    "ClassScore",
    "FeatureWindow",
    "Forecast",
    "Future",
    "HeadContext",
    "LabelledRows",
    "LossSum",
    "Nothing",
    "QueryAnswer",
    "Row",
    "Run",
    "Sample",
    "SampleOutput",
    "Segment",
    "Span",
    "States",
    "Task",
    "TaskFacts",
    "Window",
    "WindowDataset",
    "WindowOutput",
    "as_json",
    "cross_entropy_sum",
    "load_run",
    "record",
    "rows_with_labels",
    "task_class",
    "whole_video",
]

_HOMES = {
    "train.data.labelled_rows": ["LabelledRows", "rows_with_labels"],
    "train.data.window_dataset": ["FeatureWindow", "WindowDataset"],
    "cache_schema.parsing": ["record"],
    "train.answer": [
        *("Answer", "Caption", "ClassScore", "Forecast", "Future", "QueryAnswer", "Row", "Segment"),
        *("Span", "as_json"),
    ],
    "train.model.losses": ["cross_entropy_sum"],
    "train.predict.load_run": ["Run", "load_run"],
    "train.task": [
        *("IGNORED", "Answers", "HeadContext", "LossSum", "Nothing", "Sample"),
        *("SampleOutput", "States"),
        *("Task", "TaskFacts", "Window", "WindowOutput", "whole_video"),
    ],
    "train.tasks": ["task_class"],
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker would believe any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
