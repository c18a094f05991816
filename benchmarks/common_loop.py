"""The loop that common feature extractors run, as a baseline for ours.

    python -m benchmarks.common_loop VIDEO ENCODER FPS    prints the seconds that a row takes

A video is decoded frame by frame and every frame becomes RGB; those at the sampling rate are
resized and normalised by Pillow and NumPy; then the network sees batches of 8 in float32, one stage
after the other, and a .npy file is written for each video. No frame is kept that is not needed:
that would only cost memory.

Shapes: N sampled frames, H, W decoded size, B batch, C channels.
"""

import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cache_schema.recipe import PreprocessRecipe
from extract.config import ExtractConfig
from extract.encode.encoders.base import Encoder
from extract.encode.encoders.efficientnet import EfficientNetLite0
from extract.encode.preprocess import resized_size
from extract.plan.targets import build_targets

__all__ = ["BATCH", "extract_by_common_loop"]

BATCH = 8


def extract_by_common_loop(path: Path, encoder: Encoder, fps: float, out: Path) -> int:
    """Write the features of one video; return how many rows it has."""
    pictures = sampled_pictures(path, fps)
    pixels_NCHW = torch.stack([network_pixels(one, encoder.preprocess) for one in pictures])
    rows = [encoder.encode(batch[:, None]) for batch in torch.split(pixels_NCHW, BATCH)]
    features = torch.cat(rows).numpy()
    np.save(out, features)
    return len(features)


def sampled_pictures(path: Path, fps: float) -> list[Image.Image]:
    """Return the frames nearest to the sampling instants, as they come."""
    pictures: list[Image.Image] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            rgb = frame.to_ndarray(format="rgb24")  # all of them, as cv2's read() does
            if frame.time >= len(pictures) / fps:
                pictures.append(Image.fromarray(rgb))
    return pictures


def network_pixels(picture: Image.Image, recipe: PreprocessRecipe) -> Tensor:
    """Return (C, h, w) float32."""
    height, width = resized_size(recipe, picture.height, picture.width)
    kind = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    resized = picture.resize((width, height), kind[recipe.interpolation])
    pixels = np.asarray(resized, np.float32) / 255
    if recipe.crop is not None:
        top, left = (height - recipe.crop[0]) // 2, (width - recipe.crop[1]) // 2
        pixels = pixels[top : top + recipe.crop[0], left : left + recipe.crop[1]]
    normalized = (pixels - np.float32(recipe.mean)) / np.float32(recipe.std)
    return torch.from_numpy(np.ascontiguousarray(normalized.transpose(2, 0, 1)))


def main() -> None:
    """Run the loop in a process that is its own: ours changes how memory is kept."""
    video, encoder, fps = sys.argv[1:]
    config = ExtractConfig(encoders=(encoder,), device="cpu", compute_dtype="float32")
    network = build_targets(config, None)[0].encoder
    if isinstance(network, EfficientNetLite0):
        network.computed = network.network  # as its package writes it, not fused as ours
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        rows = extract_by_common_loop(Path(video), network, float(fps), Path(folder) / "f.npy")
        print((time.perf_counter() - started) / rows)


if __name__ == "__main__":
    main()
