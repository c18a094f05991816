r"""How well ``vllm-store report`` tells copies of a video from other videos.

    python benchmarks/near_duplicates.py OUT VIDEOS...

Makes altered copies of videos, extracts all with the default encoder and compares every pair as the
report compares near ones. Prints the likeness of copies with their original, kind by kind, and that
of pairs of different videos.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import click
import numpy as np
from numpy.typing import NDArray

from cache_schema.store import open_store
from extract.extraction import extract
from extract.store_page.duplicates import ALIKE, row_likeness
from extract.store_page.rows import look_at, plan_spans

Frame = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What makes a copy another file."""

    crf: int = 23
    scale: float = 1.0
    share: tuple[float, float] = (0.0, 1.0)
    paint: Callable[[Frame], Frame] = lambda image: image


def brighter(image: Frame) -> Frame:
    return np.clip(image * 1.25 + 10, 0, 255).astype(np.uint8)


def cropped(image: Frame) -> Frame:
    height, width = image.shape[:2]
    return np.ascontiguousarray(image[height // 20 : -height // 20, width // 20 : -width // 20])


CHANGES = {
    "encoded again (CRF 28)": Change(crf=28),
    "encoded badly (CRF 40)": Change(crf=40),
    "first tenth cut off": Change(share=(0.1, 1.0)),
    "middle third": Change(share=(0.33, 0.67)),
    "brighter": Change(paint=brighter),
    "5 % of each edge cut off": Change(paint=cropped),
    "three quarters the size": Change(scale=0.75),
    "half the size": Change(scale=0.5),
}


def copy_video(source: Path, target: Path, change: Change) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        video = read.streams.video[0]
        rate = Fraction(video.average_rate)
        length = float(video.duration * video.time_base)
        stream = None
        number = 0
        for frame in read.decode(video):
            if not change.share[0] <= frame.time / length <= change.share[1]:
                continue
            size = {
                "width": int(frame.width * change.scale),
                "height": int(frame.height * change.scale),
            }
            image = change.paint(frame.reformat(**size, format="rgb24").to_ndarray())
            height, width = (side // 2 * 2 for side in image.shape[:2])
            if stream is None:
                stream = written.add_stream("libx264", rate=rate, options={"crf": str(change.crf)})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            image = np.ascontiguousarray(image[:height, :width])
            made = av.VideoFrame.from_ndarray(image, format="rgb24")
            made.pts, made.time_base = number, 1 / rate
            number += 1
            written.mux(stream.encode(made))
        assert stream is not None, f"{source} has no frame"
        written.mux(stream.encode())


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fps", default=4.0, show_default=True)
@click.option("--copied", default=6, show_default=True, help="Videos that are copied.")
def main(out: Path, videos: tuple[Path, ...], fps: float, copied: int) -> None:
    """Compare copies with originals, and different videos with each other."""
    for number, video in enumerate(videos):
        copy_video(video, out / f"videos/{number:03}/original.mp4", Change(crf=18))
        for kind, (name, change) in enumerate(CHANGES.items() if number < copied else ()):
            copy_video(video, out / f"videos/{number:03}/{kind} {name}.mp4", change)
    extract(out / "videos", out / "features.zarr", fps=Fraction(str(fps)))
    stream = open_store(out / "features.zarr").stream()
    looked = look_at(stream, plan_spans(stream, 0), 0, lambda count: None)
    mean_D = looked.kept_MD.mean(axis=0)
    found = defaultdict(list)
    for one, other in combinations(stream.video_ids, 2):
        kinds = [video.partition("/")[2] for video in (one, other)]
        is_copy = one.partition("/")[0] == other.partition("/")[0]
        if is_copy and "original" not in kinds:
            continue
        name = min(kinds)[2:] if is_copy else "different videos"
        found[name].append(row_likeness(stream, one, other, mean_D))
    click.echo(f"| pairs | number | lowest | median | highest | {ALIKE} or more |")
    click.echo("|---|---|---|---|---|---|")
    for name in [*CHANGES, "different videos"]:
        values = np.array(found[name])
        low, middle, high = np.quantile(values, [0, 0.5, 1])
        share = (values >= ALIKE).mean()
        click.echo(
            f"| {name} | {len(values)} | {low:.2f} | {middle:.2f} | {high:.2f} | {share:.1%} |"
        )


if __name__ == "__main__":
    main()
