"""A toy task and a toy store: the class of a row is written into its features."""

import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from cache_schema.errors import AnnotationError
from cache_schema.parsing import record
from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord
from cache_schema.store import create_store, open_store
from train.answer import Answer, Segment
from train.answers.parts import class_segments
from train.task import IGNORED, Answers, LossSum, Sample, TaskFacts

CLASSES = 3
WIDTH = 6


def recipe(dtype="float16", encoder="toy"):
    return Recipe(
        origin="imported",
        encoder=EncoderRecipe(
            id=encoder, weights_sha256="unknown", compute_dtype="unknown", pooling="unknown"
        ),
        sampling=SamplingRecipe(fps=Fraction(2), frames_per_window=1, stride_frames=1),
        preprocess=None,
        decoder=None,
        store_dtype=dtype,
    )


def video(name, num_rows):
    return VideoRecord(
        id=name,
        path=f"{name}.mp4",
        digest="unknown",
        size_bytes=1,
        duration_seconds=num_rows / 2,
        fps=Fraction(2),
        num_frames=num_rows,
        width=8,
        height=8,
        decoder="none",
        padded_frames=0,
    )


def times(num_rows):
    """Half a second per row."""
    return np.stack([np.arange(num_rows), np.arange(num_rows) + 1], axis=1) / 2


def make_store(path, videos, dtype="float16", **options):
    """Write (rows, *row_shape) float32 arrays by video id and open the store."""
    made = recipe(dtype, **options)
    writer = create_store(path)
    shape = next(iter(videos.values())).shape[1:]
    stream = writer.stream("toy", made, shape)
    for name, values in videos.items():
        if dtype == "bfloat16":
            stored = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
        else:
            stored = values.astype(dtype)
        stream.append(stored, are_finite=True)  # or not: some tests ask for that
        stream.commit(video(name, len(values)), times(len(values)))
    writer.close()
    return open_store(path)


def labels_of(name, num_rows):
    return np.random.default_rng(sum(map(ord, name))).integers(CLASSES, size=num_rows)


def learnable(name, num_rows):
    """Features whose first values say the class, on scales that differ by orders of magnitude."""
    values = np.random.default_rng(len(name)).normal(size=(num_rows, WIDTH)).astype(np.float32)
    values[np.arange(num_rows), labels_of(name, num_rows)] += 4
    return values * np.array([100, 100, 100, 1, 0.01, 10], np.float32)


@record
class Nothing:
    """No options, and nothing to know."""


class ToyAnswers(Answers):
    """The class of every row."""

    facts = TaskFacts(name="toy", submission=".json", online=True, class_outputs=True)
    knowledge_type = Nothing
    options_type = Nothing

    def __init__(self, knowledge=None, options=None, **facts):
        super().__init__(knowledge or Nothing(), options or Nothing())
        self.facts = replace(self.facts, **facts)

    def labels(self):
        return {"current": [f"class {number}" for number in range(CLASSES)]}

    def build_head(self, context):
        return Head(context.width)

    def answer(self, outputs, queries):
        (output,) = outputs
        names = self.labels()["current"]
        logits_RK = output.rows("current")
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=float(output.times_R2[-1, 1]),
            segments=class_segments(logits_RK.argmax(1), logits_RK, output.times_R2, names),
        )


@dataclass
class ToyTask:
    """Classify every row; the submission is a JSON file of classes per video."""

    train: dict[str, int] = field(default_factory=lambda: {"a": 41, "b": 9, "c": 21})
    val: dict[str, int] = field(default_factory=lambda: {"d": 30, "e": 17})
    main_metric = "accuracy"
    blow_up: bool = False
    record_ends: dict[str, tuple[float, ...]] = field(default_factory=dict)
    answers: "ToyAnswers" = field(default_factory=lambda: ToyAnswers())

    @property
    def facts(self):
        return self.answers.facts

    def samples(self, subset):
        videos = self.train if subset == "train" else self.val
        return [
            Sample(
                video_id=name,
                start_seconds=0.0,
                end_seconds=float("inf"),
                target=None,
                record_ends=self.record_ends.get(name, ()),
            )
            for name in videos
        ]

    def truth(self, sample):
        labels = labels_of(sample.video_id, {**self.train, **self.val}[sample.video_id])
        segments = tuple(
            Segment(start=row / 2, end=(row + 1) / 2, label=f"class {label}", score=1.0)
            for row, label in enumerate(labels)
        )
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=len(labels) / 2,
            segments=segments,
        )

    def said(self, output):
        return self.answers.answer([output], ())

    def targets(self, sample, times_R2, window):
        labels = labels_of(sample.video_id, len(times_R2))[window.start : window.stop]
        return {"current": window.without_context(labels)}

    def loss(self, outputs, targets):
        flat = targets["current"].flatten()
        total = torch.nn.functional.cross_entropy(
            outputs["current"].flatten(0, 1), flat, ignore_index=IGNORED, reduction="sum"
        )
        return LossSum(
            total=total * (float("nan") if self.blow_up else 1.0),
            num_targets=(flat != IGNORED).sum(),
        )

    def write_predictions(self, outputs, path):
        classes = {one.sample.video_id: one.rows("current").argmax(1).tolist() for one in outputs}
        Path(path).write_text(json.dumps(classes))

    def score(self, predictions):
        predicted = json.loads(Path(predictions).read_text())
        if predicted.keys() != self.val.keys():
            raise AnnotationError(f"{predictions}: wrong videos")
        hits = [np.array(p) == labels_of(name, len(p)) for name, p in predicted.items()]
        return {"accuracy": 100 * float(np.concatenate(hits).mean()), "undefined": None}

    def quality(self, scores):
        return scores["accuracy"] / 100

    @classmethod
    def lower_is_better(cls, metric):
        return False

    def baselines(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "chance").write_text("{}")
        return {"chance": {"accuracy": 100 / CLASSES}, "majority": {"accuracy": 40.0}}


class Head(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = torch.nn.Linear(width, CLASSES)

    def forward(self, states):
        return {"current": self.linear(states.rows_BTE)}


def make_features(path, task, **options):
    videos = {**task.train, **task.val}
    return make_store(path, {name: learnable(name, n) for name, n in videos.items()}, **options)
