"""Steps of the trainer beside the same loop without reading, and beside ``transformers.Trainer``.

    ours       ``vllm-train``'s own loop on a store: read, model, step, log
    resident   the same loop on batches that lie in memory, read before the clock starts
    trainer    ``transformers.Trainer`` with peft: the same LLM, translator, head, loss, tuning and
               dtypes, the same batches, all in memory; the fused AdamW, no worker, no log

All do some steps in turn. The clock runs from one step of the optimizer to the next, so whatever
lies between two is in it; the first step of a turn is not, since it fills caches and state.
"""

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers import Trainer as OtherTrainer

from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord
from cache_schema.store import create_store
from train.config import (
    AugmentConfig,
    DataConfig,
    LlmConfig,
    OptimConfig,
    SideConfig,
    TrainConfig,
)
from train.data.batches import Batch
from train.loop.parallel import make_accelerator
from train.loop.trainer import Trainer
from train.model.llm import LanguageModel, load_llm
from train.prepare import Prepared, prepare
from train.task import IGNORED
from train.tasks import AnyTask

FEATURE_WIDTH = 1280
ROWS_PER_SECOND = 4
NUM_LABELS = 16
"""Besides ``background``."""
TUNINGS = {"basic": "basic", "lora": "lora:8", "full": "full"}
CONTENDERS = ["ours", "resident", "trainer"]
CPU = torch.device("cpu")

Clocks = tuple[float, float]
"""Seconds of wall and of CPU time."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rounds: int
    steps: int
    """Of a turn, besides the first one."""
    batch_size: int
    window_rows: int
    llm: LlmConfig


def write_inputs(folder: Path, lengths: Sequence[int]) -> None:
    """Write a store of random features and labels for it; a video's number of rows is given."""
    rng = np.random.default_rng(0)
    recipe = Recipe(
        origin="imported",
        encoder=EncoderRecipe(
            id="random", weights_sha256="unknown", compute_dtype="unknown", pooling="unknown"
        ),
        sampling=SamplingRecipe(
            fps=Fraction(ROWS_PER_SECOND), frames_per_window=1, stride_frames=1
        ),
        preprocess=None,
        decoder=None,
        store_dtype="float16",
    )
    writer = create_store(folder / "features.zarr")
    stream = writer.stream("random", recipe, (FEATURE_WIDTH,))
    lines = []
    for number, num_rows in enumerate(lengths):
        name, seconds = f"video{number:05d}", num_rows / ROWS_PER_SECOND
        stream.append(rng.standard_normal((num_rows, FEATURE_WIDTH), np.float32).astype(np.float16))
        starts = np.arange(num_rows) / ROWS_PER_SECOND
        stream.commit(_record(name), np.stack([starts, starts + 1 / ROWS_PER_SECOND], axis=1))
        subset = "val" if number == len(lengths) - 1 else "train"
        lines.append({
            "video": name, "subset": subset, "duration": seconds,
            "actions": _actions(seconds, rng),
        })  # fmt: skip
    writer.close()
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _record(video_id: str) -> VideoRecord:
    return VideoRecord(
        id=video_id, path="", digest="unknown", size_bytes=0, duration_seconds=0.0,
        fps=Fraction(30), num_frames=0, width=0, height=0, decoder="none", padded_frames=0,
    )  # fmt: skip


def _actions(seconds: float, rng: np.random.Generator) -> list[dict[str, object]]:
    """Return actions of two seconds that cover a video."""
    starts = np.arange(0, seconds, 2).tolist()
    return [
        {"start": start, "end": min(start + 2, seconds), "label": f"class{label:02d}"}
        for start, label in zip(starts, rng.integers(NUM_LABELS, size=len(starts)), strict=True)
    ]


def prepared(folder: Path, tuning: str, sizes: Sizes, device: torch.device = CPU) -> Prepared:
    """Return a run on what ``write_inputs`` wrote."""
    config = TrainConfig(
        task=("action_segmentation",),
        annotations=(str(folder / "labels.jsonl"),),
        features=str(folder / "features.zarr"),
        device=device.type,
        tuning=tuning,
        llm=sizes.llm,
        # What it is compared with is the LLM, and learns the labels from the rows as they are.
        side=SideConfig(width=0),
        augment=AugmentConfig(noise_std=0, shift_std=0, state_dropout=0),
        tasks={"action_segmentation": {"smoothing_weight": 0}},
        data=DataConfig(window_rows=sizes.window_rows, context_rows=0, selection="last"),
        optim=OptimConfig(epochs=1, batch_size=sizes.batch_size),
    )
    return prepare(config, device)


def forget_accelerator() -> None:
    """Let the next trainer choose its precision: accelerate keeps one for the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)


@dataclass
class Clock:
    """Notes when steps end."""

    ends: list[Clocks] = field(default_factory=list)

    def note(self, *_: object) -> None:
        """Note that a step has ended."""
        self.ends.append((time.perf_counter(), time.process_time()))

    def turn(self) -> Clocks:
        """Return the median seconds of the steps behind the first one, and forget them."""
        walls, cpus = np.diff(np.array(self.ends), axis=0).T
        self.ends.clear()
        return float(np.median(walls)), float(np.median(cpus))


class Ours(Trainer):
    """The trainer itself; it only writes no checkpoint, which no step waits for."""

    def __init__(self, run: Prepared, folder: Path) -> None:
        forget_accelerator()
        super().__init__(run, make_accelerator(run.config.device), folder)

    def turn(self, clock: Clock) -> Clocks:
        """Do one epoch."""
        self.optimizer.register_step_post_hook(clock.note)
        self.train()
        return clock.turn()

    def _save(self, name: str) -> None:
        pass


class Resident(Ours):
    """The same on batches in memory."""

    batches: Sequence[tuple[AnyTask, list[Batch]]]

    def _batches(self, epoch: int, first_step: int) -> Iterator[tuple[AnyTask, list[Batch]]]:
        return iter(self.batches)


class PlainModel(nn.Module):
    """What one would write for ``transformers.Trainer``: linear layer -> LLM -> linear layer."""

    def __init__(self, llm: LanguageModel, network: nn.Module) -> None:
        super().__init__()
        self.dtype = next(network.parameters()).dtype
        self.translator = nn.Linear(FEATURE_WIDTH, llm.width_in)
        self.network = network
        self.head = nn.Linear(llm.width_out, NUM_LABELS + 1)

    def forward(self, features: Tensor, valid: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Return the mean loss of a batch."""
        with torch.autocast("cpu", enabled=False):  # as ours: float32 outside of the LLM
            tokens = self.translator(features).to(self.dtype)
        output: Any = self.network(inputs_embeds=tokens, attention_mask=valid, use_cache=False)
        with torch.autocast("cpu", enabled=False):
            logits = self.head(output.last_hidden_state.float())
            loss = functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED
            )
        return {"loss": loss}


class Windows(Dataset[dict[str, Tensor]]):
    """The windows of some batches, one by one."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.items = [
            {"features": features, "valid": valid.long(), "labels": labels}
            for one in batches
            for features, valid, labels in zip(
                one.features_BTD, one.valid_BT, one.targets["current"], strict=True
            )
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.items[index]


class Noting(TrainerCallback):
    """Tells a clock when a step has ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, *_: object, **__: object) -> None:
        """Note that a step has ended."""
        self._clock.note()


def plain_model(tuning: str, sizes: Sizes) -> PlainModel:
    """Return the model for the other trainer: trained weights are float32, as ours are."""
    own = load_llm(sizes.llm, CPU, 0, tuning if tuning == "full" else "basic")
    network = own.stack
    if tuning.startswith("lora"):
        from peft import LoraConfig, get_peft_model

        targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
        lora = LoraConfig(r=8, lora_alpha=8, target_modules=targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
            network = get_peft_model(network, lora)
    return PlainModel(own, network)


def turn_of_other(
    model: PlainModel, windows: Windows, tuning: str, sizes: Sizes, folder: Path, clock: Clock
) -> Clocks:
    """Do one epoch of the other trainer."""
    forget_accelerator()
    is_bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=sizes.batch_size,
        num_train_epochs=1,
        learning_rate=1e-3,
        weight_decay=0.01,
        max_grad_norm=1.0,
        lr_scheduler_type="cosine",
        warmup_steps=1,
        optim="adamw_torch_fused",
        # Float32 weights are multiplied in bfloat16, as ours; the frozen ones are it themselves.
        bf16=tuning != "basic" and is_bfloat16,
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    trainer = OtherTrainer(
        model=model, args=arguments, train_dataset=windows, callbacks=[Noting(clock)]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.turn()


def measure(tuning: str, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Return seconds of steps and their ratios for one method."""
    run = prepared(folder, tuning, sizes)
    read = list(Ours(run, folder)._batches(0, 0))
    windows = Windows([part for _, parts in read for part in parts])
    other = plain_model(tuning, sizes)
    clock, rounds, waits = Clock(), [], []

    def turn(name: str, place: Path) -> Clocks:
        if name == "trainer":
            return turn_of_other(other, windows, tuning, sizes, place, clock)
        if name == "ours":
            return Ours(run, place).turn(clock)
        resident = Resident(run, place)
        resident.batches = read
        return resident.turn(clock)

    for number in range(sizes.rounds):
        place = folder / tuning / str(number)
        order = CONTENDERS[number % 3 :] + CONTENDERS[: number % 3]  # none is always the first
        rounds.append({name: turn(name, place / name) for name in order})
        waits += waits_of(place / "ours")
    forget_accelerator()
    return summary(rounds, waits)


def waits_of(folder: Path) -> list[Clocks]:
    """Return seconds of waiting and of all of every step that a run has logged."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(one["wait_seconds"], one["seconds"]) for one in lines if one["kind"] == "train"]


def summary(rounds: Sequence[Mapping[str, Clocks]], waits: Sequence[Clocks]) -> dict[str, object]:
    """Return medians over the rounds; a ratio above 1 means that ours is the faster one."""

    def ratio(other: str, clock: int) -> float:
        return median(one[other][clock] / one["ours"][clock] for one in rounds)

    waited, seconds = np.array(waits).sum(axis=0).tolist()
    return {
        "steps_vs_resident": ratio("resident", 0),
        "steps_vs_trainer": ratio("trainer", 0),
        "steps_vs_resident_cpu": ratio("resident", 1),
        "steps_vs_trainer_cpu": ratio("trainer", 1),
        "wait_share": waited / seconds,
        "step_seconds": {name: median(one[name][0] for one in rounds) for name in rounds[0]},
        "step_cpu_seconds": {name: median(one[name][1] for one in rounds) for name in rounds[0]},
    }
