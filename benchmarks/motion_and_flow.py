r"""Do differences between rows tell how much moves? Beside optical flow, on real clips.

    python -m benchmarks.motion_and_flow VIDEOS... [--fps 4]

For each clip: the length of each row's difference to the row before it (``NAME:motion``), and the
mean length of the dense optical flow (iterative Lucas-Kanade) between the same two frames;
Spearman's rank correlation over all pairs of frames of a clip, and over those of all clips.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.color import rgb2gray
from skimage.registration import optical_flow_ilk
from skimage.transform import resize

from cache_schema.derived.motion import MotionStream
from cache_schema.store import open_store
from extract import extract
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames

HEIGHT = 128
"""Of the frames whose flow is measured."""
LEAST_PAIRS = 5

Lengths = NDArray[np.float64]


def flow_lengths(path: Path, fps: Fraction) -> Lengths:
    """Return the mean length of the flow from each sampled frame to the next, in pixels."""
    found, before = [], None
    for frame in sample_frames(open_video(path, "pyav"), fps, []):
        height, width = frame.pixels.shape[:2]
        now = rgb2gray(resize(frame.pixels, (HEIGHT, round(width * HEIGHT / height)), order=1))
        if before is not None:
            found.append(float(np.hypot(*optical_flow_ilk(before, now)).mean()))
        found += [0.0] * (frame.num_ticks - 1)
        before = now
    return np.array(found)


@click.command()
@click.argument("videos", nargs=-1, required=True)
@click.option("--fps", default="4")
@click.option("--encoder", default="efficientnet_lite0")
def main(videos: tuple[str, ...], fps: str, encoder: str) -> None:
    """Print the correlation of each clip and of all."""
    own, flows = [], []
    with tempfile.TemporaryDirectory() as folder:
        extract(list(videos), f"{folder}/f.zarr", encoders=encoder, fps=Fraction(fps), device="cpu")
        motion = MotionStream(open_store(f"{folder}/f.zarr").stream())
        for video in motion.videos():
            lengths = np.linalg.norm(motion.read(video.id).float32, axis=1)[1:].astype(float)
            flow = flow_lengths(Path(video.path), Fraction(fps))
            if len(lengths) == len(flow) >= LEAST_PAIRS:
                click.echo(f"{video.id:32}{spearmanr(lengths, flow).statistic:+.2f}")
                own.append(lengths)
                flows.append(flow)
    alone = [spearmanr(*pair).statistic for pair in zip(own, flows, strict=True)]
    together = spearmanr(np.concatenate(own), np.concatenate(flows)).statistic
    click.echo(
        f"{len(own)} clips, {sum(map(len, own))} pairs of frames: median of clips "
        f"{np.median(alone):+.2f}, all pairs together {together:+.2f}"
    )


if __name__ == "__main__":
    main()
