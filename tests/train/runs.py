"""Small runs of the toy task for the tests of trainer, checkpoints and commands."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

from extract import extract
from tests.extract.videos import constant_pts, write_video
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.toy import ToyTask, make_features
from train import prepare as prepare_module
from train import run as run_module
from train.config import AugmentConfig, DataConfig, LlmConfig, OptimConfig, TrainConfig
from train.loop.parallel import make_accelerator
from train.loop.trainer import Trainer
from train.predict import trained_run as trained_run_module

VIDEOS = {"a": 60, "b": 20, "c": 40, "d": 90, "e": 40, "new/x": 50}
"""Frames of each; nobody has labelled the last."""

# 3 videos, 5 crops of at most 16 rows: 3 steps per epoch.
STEPS_PER_EPOCH = 3


UNCHANGED = AugmentConfig(noise_std=0, shift_std=0, state_dropout=0)
"""Features are learned from as they are."""


def make_config(root, **settings):
    """Write features and a tiny LLM below ``root`` once and return a config that uses them."""
    if not (root / "f.zarr").exists():
        make_features(root / "f.zarr", ToyTask())
        save_tiny_llm("llama", root / "llm")
    defaults = {
        "task": ("toy",),
        "annotations": ("none",),
        "features": str(root / "f.zarr"),
        "out": str(root / "run"),
        "device": "cpu",
        "llm": LlmConfig(name=str(root / "llm"), num_layers=0, dtype="float32"),
        "data": DataConfig(window_rows=16, context_rows=4),
        "tuning": "basic",
        "augment": replace(UNCHANGED, noise_std=0.1, feature_dropout=0.1),
        "optim": OptimConfig(epochs=2, batch_size=2, lr=0.01),
    }
    return TrainConfig(**{**defaults, **settings})


def make_video_run(root, encoder="fake", **settings):
    """Train the toy task on features that stage 1 makes of tiny videos in ``root / "videos"``.

    Returns the folder of the run.
    """
    for name, num_frames in VIDEOS.items():
        write_video(root / "videos" / f"{name}.mp4", constant_pts(num_frames))
    extract(root / "videos", root / "f.zarr", encoders=encoder, fps=8, device="cpu")
    config = make_config(root, llm=LlmConfig(name="none"), **settings)
    make_trainer(config, root / "run").train()
    return root / "run"


def use_tasks(monkeypatch, tasks):
    """Make every run load these tasks, by name."""
    for module in (prepare_module, trained_run_module):
        monkeypatch.setattr(module, "load_task", lambda name, annotations, options: tasks[name])
    monkeypatch.setattr(run_module, "all_options", lambda name, options: dict(options))
    monkeypatch.setattr(
        trained_run_module,
        "load_answers",
        lambda name, knowledge, options, where: tasks[name].answers,
    )
    monkeypatch.setattr(
        trained_run_module,
        "task_class",
        lambda name: SimpleNamespace(answers_type=tasks[name].answers),
    )


def use_toy_task(monkeypatch, task=None):
    """Make every run load this task, whatever its name."""
    chosen = task or ToyTask()
    use_tasks(monkeypatch, defaultdict(lambda: chosen))
    return chosen


def make_trainer(config, root, resumed=None, device="cpu"):
    accelerator = make_accelerator(device)
    prepared = prepare_module.prepare(config, accelerator.device, resumed)
    return Trainer(prepared, accelerator, root)


def with_optim(config, **settings):
    return replace(config, optim=replace(config.optim, **settings))
