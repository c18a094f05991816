"""Folders of runs as vllm-train leaves them, made without training."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from cache_schema.cost import ExtractionCost
from cache_schema.parsing import to_json
from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from train.answer import Answer, Segment
from train.answers.action_segmentation import SegmentationAnswers
from train.checkpoints.record import Checkpoint, Progress
from train.checkpoints.result import Machine, RowCounts, RunResult, Seconds, write_result
from train.config import DataConfig, OptimConfig, TrainConfig
from train.model.identity import LlmIdentity
from train.pages.showing import view_of
from train.pages.view_file import ViewWriter, views_path

RECIPE = Recipe(
    origin="imported",
    encoder=EncoderRecipe(
        id="toy", weights_sha256="unknown", compute_dtype="unknown", pooling="unknown"
    ),
    sampling=SamplingRecipe(fps=Fraction(2), frames_per_window=1, stride_frames=1),
    preprocess=None,
    decoder=None,
    store_dtype="float16",
)
LLM = LlmIdentity(
    name="tiny",
    stack="decoder",
    num_layers=2,
    weights="random",
    dtype="float32",
    weights_sha256="abc",
)
COST = ExtractionCost(
    time="2026-01-01T00:00:00+00:00",
    streams=("toy",),
    num_videos=5,
    num_rows=1000,
    video_seconds=7200.0,
    wall_seconds=100.0,
    busy_seconds={"decode": 60.0, "encode": 90.0},
    num_workers=1,
    device="cpu",
    energy_joules=None,
)


def step(number, epoch, loss, **more):
    return {
        "kind": "train", "step": number, "epoch": epoch, "loss": loss, "lr": 0.1 / number,
        "targets": 8, "rows": 16, "seconds": 0.5, "wait_seconds": 0.05, **more,
    }  # fmt: skip


def log_of(scores_by_epoch, loss=3.0):
    """Return entries of two steps per epoch; scores of each epoch."""
    entries = []
    for epoch, scores in enumerate(scores_by_epoch, start=1):
        entries += [step(number, epoch, loss / number) for number in (2 * epoch - 1, 2 * epoch)]
        entries.append(
            {
                "kind": "epoch", "step": 2 * epoch, "epoch": epoch,
                "evaluation_loss": loss / epoch, **scores,
                "total_rows": 32 * epoch, "total_seconds": 1.0 * epoch, "evaluation_seconds": 0.25,
            }
        )  # fmt: skip
    return entries


def write_log(folder, entries):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one) + "\n" for one in entries]
    (folder / "metrics.jsonl").write_text("".join(lines))


def checkpoint_of(config=None, *, best_epoch=1, num_epochs=2):
    return Checkpoint(
        config=config or config_of(),
        stream="toy",
        recipe=RECIPE,
        row_shape=(6,),
        pretrained={"llm": LLM},
        samples_sha256="abc",
        progress=Progress(
            step=2 * num_epochs, num_epochs=num_epochs, best_epoch=best_epoch, best_value=0.5
        ),
    )


def config_of(task=("toy",), **settings):
    optim = settings.pop("optim", OptimConfig(epochs=2))
    annotations = settings.pop("annotations", tuple(f"annotations/{name}" for name in task))
    return TrainConfig(
        task=task,
        annotations=annotations,
        features="nothing.zarr",
        optim=optim,
        data=DataConfig(),
        **settings,
    )


def result_of(**values):
    made = RunResult(
        finished=datetime(2026, 1, 2, 3, 4, tzinfo=UTC).isoformat(),
        metrics={"accuracy": 60.0},
        baselines={"chance": {"accuracy": 33.0}},
        main_metrics={"toy": "accuracy"},
        lower_is_better={"toy": ()},
        best_epoch=1,
        missing_videos=(),
        record_ends=(),
        seconds=Seconds(start_up=2.0, scoring=1.0),
        rows=RowCounts(read_per_epoch=500, in_stream=1000),
        machine=Machine(device="cpu", num_processes=1),
        extraction=(COST,),
    )
    return replace(made, **values)


def write_run(folder, *, checkpoint=None, entries=None, result=None, views=()):
    """Write a run's folder; without a result it has not ended."""
    default = log_of([{"accuracy": 50.0}, {"accuracy": 40.0}])
    write_log(folder, default if entries is None else entries)
    if checkpoint is not None:
        (folder / "checkpoint-last").mkdir()
        (folder / "checkpoint-last" / "run.json").write_text(to_json(checkpoint))
    if result is not None:
        write_result(folder, result)
    if views:
        path = views_path(folder, views[0].task)
        path.parent.mkdir(exist_ok=True)
        with ViewWriter(path) as writer:
            for view in views:
                writer.write(view)
    return folder


def view(video, share, *, task="toy", label="cut"):
    """Return a view of a video of 10 seconds, of which a share is named right."""
    said = (Segment(start=0, end=10 * share, label=label, score=0.5),)
    if share < 1:
        said += (Segment(start=10 * share, end=10, label="dry", score=0.5),)
    true = (Segment(start=0, end=10, label=label, score=1.0),)
    head = {"video": video, "task": task, "duration": 10.0}
    facts = SegmentationAnswers.facts
    return view_of(Answer(**head, segments=said), Answer(**head, segments=true), facts)
