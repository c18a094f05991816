"""The whole way in Python, on the generated videos: features, labels, a model, a run's answers.

Run it as a script from the repository's root (``python -m demo.tour``), or cell by cell where
``# %%`` means a cell. Makes the folder ``demo-tour``; a second run finds there what the first made.
docs/python.md explains every step.
"""

# %% What it needs, and what it makes
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from cache_schema import open_store
from demo.folder import write_demo
from demo.grammar import FRAMES_PER_SECOND
from demo.scenes import render_frames
from demo.truth import DemoSpec
from extract import extract, load_encoder
from train import IGNORED, LabelledRows, WindowDataset, load_run, rows_with_labels

FOLDER = Path("demo-tour")
SPEC = DemoSpec(train_videos=12, val_videos=4, seconds=24)
ENCODER = "efficientnet_lite0"
FPS = 3
TRAINING = ["--epochs", "12", "--lr", "0.003"]  # more flags of vllm-train

# %% Videos with exact labels
videos = list(write_demo(FOLDER / "set", SPEC))
print(f"{len(videos)} videos, {sum(len(video.segments) for video in videos)} labelled segments")

# %% Videos -> features, once
report = extract(FOLDER / "set" / "videos", FOLDER / "feats.zarr", encoders=ENCODER, fps=FPS)
assert not report.failures, report.failures
print(f"{report.num_done} videos extracted, {report.num_skipped} already there")

# %% A store says what it holds, and how it was made
stream = open_store(FOLDER / "feats.zarr").stream()
print(f"{stream.num_rows} rows {stream.row_shape} of {stream.recipe.encoder.id}")

# %% Labels in seconds meet rows by their centres: which object is to be seen?
label_names = sorted({segment.action.noun for video in videos for segment in video.segments})


def labelled(split: str) -> list[LabelledRows]:
    """Return the rows of a split with their labels."""
    return [
        rows_with_labels(
            stream,
            video.video_id,
            [(one.start_seconds, one.end_seconds, one.action.noun) for one in video.segments],
            label_names=label_names,
        )
        for video in videos
        if video.split == split
    ]


def as_tensors(rows: list[LabelledRows]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (R, D) and labels (R,) of several videos, one behind the other."""
    return (
        torch.from_numpy(np.concatenate([one.values for one in rows])),
        torch.from_numpy(np.concatenate([one.labels_R for one in rows])),
    )


train_RD, train_labels_R = as_tensors(labelled("train"))
val_RD, val_labels_R = as_tensors(labelled("val"))

# %% Mean and spread of the features, over windows in batches
loader = DataLoader(WindowDataset(stream, window_rows=32), batch_size=8)
valid_RD = torch.cat([batch.features[batch.is_valid] for batch in loader])
mean_D, std_D = valid_RD.mean(dim=0), valid_RD.std(dim=0) + 1e-6

# %% A model of one's own: one linear layer on each row
torch.manual_seed(0)
layer = torch.nn.Linear(stream.row_shape[0], len(label_names))
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
for _ in range(100):
    loss = functional.cross_entropy(layer((train_RD - mean_D) / std_D), train_labels_R)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()

# %% How good it is, where there is a label
has_label_R = val_labels_R != IGNORED
guesses_R = layer((val_RD - mean_D) / std_D).argmax(dim=1)
accuracy = (guesses_R == val_labels_R)[has_label_R].float().mean().item()
most_frequent = train_labels_R[train_labels_R != IGNORED].mode().values
majority = (val_labels_R == most_frequent)[has_label_R].float().mean().item()
print(f"accuracy {accuracy:.2f}, of the most frequent label {majority:.2f}")

# %% Frames in memory: the same encoder sees what was drawn, before it was compressed
video = videos[-1]
encoder = load_encoder(ENCODER, fps=FPS)
drawn = islice(render_frames(video, SPEC), 0, None, FRAMES_PER_SECOND // FPS)
fresh = encoder.encode(drawn)
fresh_RD = torch.from_numpy(fresh.float32)
stored_RD = torch.from_numpy(stream.read(video.video_id).float32)
similarity = functional.cosine_similarity(fresh_RD, stored_RD).mean().item()
print(f"cosine between rows of drawn and of compressed frames: {similarity:.3f}")

# %% A trained run: vllm-train learns the action of every moment
annotations = FOLDER / "set" / "annotations" / "action_segmentation"
flags = f"--features {FOLDER}/feats.zarr --task action_segmentation --annotations {annotations}"
command = [str(Path(sys.executable).with_name("vllm-train")), *flags.split(), *TRAINING]
subprocess.run([*command, "--out", str(FOLDER / "run"), "--resume"], check=True)

# %% What it says about a video of the store
run = load_run(FOLDER / "run")
(answer,) = run.predict(stream, [video.video_id])
print(f"{answer.video}: {len(answer.segments)} segments of {len(run.labels['current'])} classes")

# %% The same of the rows that were made in memory, and what was drawn
told = run.predict_rows(fresh.float32, fresh.times_R2)
for segment in told.segments[:3]:
    seen = [
        one.action.name
        for one in video.segments
        if one.start_seconds < segment.end and segment.start < one.end_seconds
    ]
    print(f"{segment.start:.1f}-{segment.end:.1f} s {segment.label}; drawn: {', '.join(seen)}")
