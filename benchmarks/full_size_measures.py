"""What ``benchmarks.full_size`` measures, each in a process of its own.

    python -m benchmarks.full_size_measures WHAT JSON

    read      the annotations of a task: both subsets, and what its head must know of them
    train     a run put together, and some steps of it
    predict   some samples of the validation subset, with the weights as they begin
    write     the submission of the whole subset, of random outputs that come one by one
    score     that submission

The last line that is printed is a JSON object. Memory is what the process itself holds; pages of a
store, which the system takes back when it needs them, are counted apart.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_schema.stream import Stream
from extract.process_memory import peak_bytes
from train.task import SampleOutput, Window, WindowOutput
from train.tasks import AnyTask, load_task

if TYPE_CHECKING:  # reading and scoring need no torch, and their memory is measured
    from train.data.samples import SampleRows
    from train.loop.trainer import Trainer
    from train.predict.predictor import Predictor
    from train.prepare import Prepared

__all__ = ["Asked", "measure"]

BLOCKS = 2
"""Of the LLM."""
LOOK_SECONDS = 0.02
"""Between two looks at the memory."""
MOST_GB = 10
"""A process that holds more is ended: it would take the machine from others."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a process is to measure."""

    task: str
    annotations: str
    features: str = ""
    out: str = ""
    """Folder for what is written."""
    steps: int = 0
    most_rows: int = 0
    """About so many rows are predicted, of samples from all over the validation subset."""


class Memory:
    """The most memory of its own that this process has held."""

    def __init__(self) -> None:
        self.peak_kb = 0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    def _look(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            found = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", status, re.MULTILINE)
            self.peak_kb = max(self.peak_kb, sum(map(int, found)))
            if self.peak_kb > MOST_GB * 1e6:
                print(f"holds more than {MOST_GB} GB", file=sys.stderr, flush=True)
                os._exit(1)
            if self._ended.wait(LOOK_SECONDS):
                return

    def figures(self) -> dict[str, float]:
        """Stop looking; return gigabytes."""
        self._ended.set()
        self._watch.join()
        return {"gb": self.peak_kb / 1e6, "gb_with_pages_of_files": peak_bytes() / 1e9}


def read(asked: Asked) -> dict[str, float]:
    started = time.perf_counter()
    task = load_task(asked.task, Path(asked.annotations), {})
    samples = {subset: task.samples(subset) for subset in ("train", "val")}
    knowledge = task.answers.knowledge
    del knowledge
    return {
        "seconds": time.perf_counter() - started,
        "train_samples": len(samples["train"]),
        "val_samples": len(samples["val"]),
    }


def prepared(asked: Asked) -> "Prepared":
    """Return a run; its settings are the defaults, but for the blocks of the LLM."""
    import torch

    from train.config import DataConfig, LlmConfig, OptimConfig, TrainConfig
    from train.prepare import prepare

    config = TrainConfig(
        task=(asked.task,),
        annotations=(asked.annotations,),
        features=asked.features,
        device="cpu",
        llm=LlmConfig(num_layers=BLOCKS),
        data=DataConfig(selection="last"),
        optim=OptimConfig(epochs=1),
    )
    return prepare(config, torch.device("cpu"))


def trainer_of(asked: Asked, run: "Prepared") -> "Trainer":
    """Return a trainer that stops after some steps and keeps nothing."""
    from train.loop.parallel import make_accelerator
    from train.loop.trainer import Trainer

    class FewSteps(Trainer):
        def _batches(self, epoch: int, first_step: int) -> Iterator[Any]:
            return islice(super()._batches(epoch, first_step), asked.steps)

        def _save(self, name: str) -> None:
            pass

    return FewSteps(run, make_accelerator("cpu"), Path(asked.out))


def train(asked: Asked) -> dict[str, float]:
    started = time.perf_counter()
    run = prepared(asked)
    ready = time.perf_counter()
    trainer = trainer_of(asked, run)
    trainer.train()
    ended = time.perf_counter()
    lines = map(json.loads, (Path(asked.out) / "metrics.jsonl").read_text().splitlines())
    steps = [one["seconds"] for one in lines if one["kind"] == "train"]
    return {
        "prepare_seconds": ready - started,
        "statistics_seconds": ended - ready - sum(steps),
        "steps": len(steps),
        "step_seconds": median(steps),
        "steps_per_epoch": trainer.steps_per_epoch,
        "epoch_seconds": median(steps) * trainer.steps_per_epoch,
    }


def predict(asked: Asked) -> dict[str, float]:
    run = prepared(asked)
    (data,) = run.tasks
    rows = some_of(data.val, asked.most_rows)
    predictor = trainer_of(asked, run).validation.predictor(data.task)
    started = time.perf_counter()
    deque(predictor.predict(rows).outputs, maxlen=0)
    seconds = time.perf_counter() - started
    some, whole = (row_passes(predictor, part) for part in (rows, data.val))
    return {
        "seconds": seconds,
        "samples": sum(len(one.samples) for one in rows),
        "row_passes": some["shared"],
        "row_passes_of_subset": whole["shared"],
        "row_passes_of_subset_alone": whole["alone"],
        "subset_seconds": seconds * whole["shared"] / some["shared"],
    }


def some_of(rows: "Sequence[SampleRows]", most: int) -> "list[SampleRows]":
    """Return every so manieth sample, so that they have about so many rows."""
    total = sum(one.num_rows for one in rows)
    return list(rows[:: max(1, round(total / most))])


def row_passes(predictor: "Predictor", rows: "Sequence[SampleRows]") -> dict[str, int]:
    """Count the rows that the LLM reads: those of all windows, once or once for each query."""
    from train.data.windows import evaluation_windows

    data = predictor.data
    lengths = [one.num_rows for one in rows]
    windows = evaluation_windows(lengths, data.window_rows, data.context_rows)
    return {
        "shared": sum(one.num_rows for one in windows),
        "alone": sum(one.num_rows * len(rows[one.sample].samples) for one in windows),
    }


def write(asked: Asked) -> dict[str, float]:
    from cache_schema.store import open_store

    task = load_task(asked.task, Path(asked.annotations), {})
    stream = open_store(asked.features).stream()
    started = time.perf_counter()
    if asked.task == "online_captioning":
        write_captions(task.source.references(), submission(asked))
    else:
        task.write_predictions(random_outputs(task, stream), submission(asked))
    written = [path for path in Path(asked.out).rglob("*") if path.is_file()]
    return {
        "seconds": time.perf_counter() - started,
        "bytes": sum(path.stat().st_size for path in written),
    }


def write_captions(references: Mapping[str, Sequence[str]], path: Path) -> None:
    """Give each narration the text of another one: only a generator could spell outputs."""
    texts = [texts[0] for texts in references.values()]
    others = np.random.default_rng(0).permutation(len(texts))
    captions = {one: texts[other] for one, other in zip(references, others, strict=True)}
    path.write_text(json.dumps(captions), encoding="utf-8")


def random_outputs(task: AnyTask, stream: Stream) -> Iterator[SampleOutput]:
    """Yield outputs of the whole validation subset, as if one window saw all rows of a sample."""
    from train.data.samples import find_rows

    rng = np.random.default_rng(0)
    for rows in find_rows(task.samples("val"), stream, allow_missing=0).rows:
        window = Window(sample=0, start=0, stop=rows.num_rows)
        for sample in rows.samples:
            arrays = {
                name: rng.random(shape, np.float32)
                for name, shape in output_shapes(task, rows.num_rows).items()
            }
            yield rows.output(sample, [WindowOutput(window=window, arrays=arrays)])


def output_shapes(task: AnyTask, num_rows: int) -> dict[str, tuple[int, ...]]:
    """Return what the head of a task gives for a window of so many rows."""
    classes = {name: len(labels) for name, labels in task.answers.labels().items()}
    match task.facts.name:
        case "moment_query":
            moments = task.options.num_moments * max(1, num_rows // 128)
            return {"classes": (moments, classes["classes"]), "segments": (moments, 2)}
        case "natural_language_query":
            return {"start": (1 + num_rows,), "end": (1 + num_rows,)}
        case "highlight_detection":
            return {"saliency": (num_rows, 1)}
        case "action_anticipation":
            return {"action": (num_rows, task.options.steps, classes["action"])}
        case "long_term_anticipation":
            steps = task.options.num_future_actions
            return {name: (num_rows, steps, count) for name, count in classes.items()}
        case _:
            return {"current": (num_rows, classes["current"])}


def submission(asked: Asked) -> Path:
    task = load_task(asked.task, Path(asked.annotations), {})
    return Path(asked.out) / f"submission{task.facts.submission}"


def score(asked: Asked) -> dict[str, float]:
    task = load_task(asked.task, Path(asked.annotations), {})
    started = time.perf_counter()
    task.score(submission(asked))
    return {"seconds": time.perf_counter() - started}


MEASURES = {"read": read, "train": train, "predict": predict, "write": write, "score": score}


def measure(what: str, asked: Asked) -> dict[str, float]:
    """Measure one thing in this process."""
    memory = Memory()
    return {**MEASURES[what](asked), **memory.figures()}


def to_words(what: str, asked: Asked) -> list[str]:
    """Return the command that measures it in another process."""
    return [sys.executable, "-m", "benchmarks.full_size_measures", what, json.dumps(asdict(asked))]


def main(what: str, values: Mapping[str, Any]) -> None:
    """Measure and print."""
    logging.getLogger("train").setLevel(logging.ERROR)
    print(json.dumps(measure(what, Asked(**values))))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
