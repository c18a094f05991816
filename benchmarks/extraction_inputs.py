"""Videos and networks that the extraction benchmark makes for itself: nothing is downloaded."""

import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import skimage.data
import skimage.transform
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)

from demo.video_file import write_video

__all__ = ["SIZES", "make_long_video", "make_networks", "make_videos", "save_image_network"]

Image = npt.NDArray[np.uint8]

SIZES = {
    "256p": (256, 340),  # as action recognition keeps its videos
    "720p": (720, 1280),
    "1080p": (1080, 1920),
    "2160p": (2160, 3840),
}
FRAMES_PER_SECOND = 30
PHOTOGRAPHS = ("astronaut", "chelsea")


def make_videos(folder: Path, size: str, seconds: int) -> list[Path]:
    """Write a video for each photograph: a camera that moves over it, with a sensor's noise."""
    folder.mkdir(parents=True)
    height, width = SIZES[size]
    paths = []
    for seed, name in enumerate(PHOTOGRAPHS):
        paths.append(folder / f"{name}.mp4")
        frames = _frames(name, height, width, seconds * FRAMES_PER_SECOND, seed)
        write_video(
            paths[-1], frames, width=width, height=height, frames_per_second=FRAMES_PER_SECOND
        )
    return paths


def _frames(name: str, height: int, width: int, count: int, seed: int) -> Iterator[Image]:
    picture = getattr(skimage.data, name)()
    larger = (int(height * 1.5), int(width * 1.5))
    scene: Image = (skimage.transform.resize(picture, larger, order=1) * 255).astype(np.uint8)
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 6, (8, height, width, 3), dtype=np.uint8)
    for number in range(count):
        angle = 2 * np.pi * number / (7 * FRAMES_PER_SECOND)
        top = round((1 + np.sin(angle)) / 2 * (larger[0] - height))
        left = round((1 + np.cos(0.7 * angle)) / 2 * (larger[1] - width))
        view = scene[top : top + height, left : left + width]
        yield np.minimum(view, 249) + noise[rng.integers(len(noise))]


def make_long_video(path: Path, source: Path, repeats: int) -> None:
    """Put a video behind itself so many times, without encoding it again."""
    with av.open(str(path), "w", format="mp4") as out:
        stream, shift = None, 0
        for _ in range(repeats):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    out.mux(packet)
                shift += video.duration


def make_networks(folder: Path) -> dict[str, str]:
    """Save networks with random weights as transformers does; return name -> what to load."""
    torch.manual_seed(0)
    networks = {
        "vit_b16": ViTModel(ViTConfig(), add_pooling_layer=False),
        "clip_b32": CLIPVisionModel(CLIPVisionConfig()),
    }
    saved = {name: save_image_network(folder / name, one) for name, one in networks.items()}
    return {"efficientnet_lite0": "efficientnet_lite0"} | saved


def save_image_network(folder: Path, network: PreTrainedModel) -> str:
    """Save a network and the preprocessing of images of 224 x 224; return what to load."""
    network.save_pretrained(folder)
    settings = {
        "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "CLIPImageProcessor",
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return str(folder)
