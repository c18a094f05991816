"""Runs of the real tasks whose attention tells rows apart, and videos to stream."""

import json

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from extract import extract
from tests.extract.videos import constant_pts, write_video
from tests.train.model.tiny_llms import save_tiny_llm, save_tiny_tokenizer
from tests.train.runs import make_trainer
from train.config import DataConfig, LlmConfig, OptimConfig, TrainConfig

FRAMES = 83
"""8.3 s at 10 fps, so 34 rows at 4 fps, the last of 0.05 s; groups of 3 end with one row."""

OPTIONS = {
    "long_term_anticipation": {"num_input_actions": 2, "num_future_actions": 3, "num_sequences": 2}
}


def annotate(path):
    """Write what the online tasks can learn about the videos; narrators speak every 0.7 s."""
    actions = [
        {"start": number, "end": number + 1.0, "verb": verb, "noun": noun}
        for number, (verb, noun) in enumerate([("stir", "soup"), ("cut", "egg")] * 4)
    ]
    captions = [
        {"time": round(0.7 * number, 1), "text": "the cat" if number % 2 else "the dog"}
        for number in range(1, 12)
    ]
    lines = [
        {"video": f"seen/{name}", "subset": subset, "duration": FRAMES / 10,
         "actions": actions, "captions": captions, "moments": [], "highlights": [],
         "queries": [{"query": "where is it", "start": 1.0, "end": 2.0}]}
        for name, subset in (("a", "train"), ("b", "val"))
    ]  # fmt: skip
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def make_videos(root):
    """Write videos, features of those that are annotated, and annotations."""
    for name in ("seen/a", "seen/b"):
        write_video(root / "videos" / f"{name}.mp4", constant_pts(FRAMES, fps=10), rate=10)
    write_video(root / "x.mkv", constant_pts(FRAMES, fps=10), rate=10)
    extract(root / "videos", root / "f.zarr", encoders="fake", fps=4, device="cpu")
    annotate(root / "own.jsonl")


def make_run(root, out, task, family="gpt2", tuning="basic", **settings):
    """Train a task for one step, then make what it learned matter; returns the run's folder."""
    made = {
        "data": DataConfig(window_rows=6, context_rows=2),
        "llm": LlmConfig(name=str(sharp_llm(root, family)), num_layers=0, dtype="float32"),
        **settings,
    }
    config = TrainConfig(
        task=(task,),
        annotations=(str(root / "own.jsonl"),),
        features=str(root / "f.zarr"),
        device="cpu",
        tuning=tuning,
        optim=OptimConfig(epochs=1, batch_size=2),
        tasks={task: OPTIONS[task]} if task in OPTIONS else {},
        **made,
    )
    make_trainer(config, out).train()
    for adapter in out.glob("checkpoint-*/adapter_model.safetensors"):
        sharpen_adapter(adapter)
    return out


def sharp_llm(root, family):
    """Save a tiny LLM as ``tests.train.stream.streaming.sharpen`` makes it."""
    folder = root / family
    if not folder.exists():
        save_tiny_tokenizer(save_tiny_llm(family, folder))
        model = AutoModel.from_pretrained(folder)
        with torch.no_grad():
            for value in model.parameters():
                if value.dim() > 1:
                    value.mul_(6)
        model.save_pretrained(folder)
    return folder


def sharpen_adapter(path):
    """Make fresh adapters do something: LoRA begins with zeros, prompt and prefix near them."""
    torch.manual_seed(1)
    tensors = {
        name: value if "lora_A" in name else torch.randn(value.shape)
        for name, value in load_file(path).items()
    }
    save_file(tensors, path, metadata={"format": "pt"})
