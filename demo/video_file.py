"""Write frames as an H.264 file.

Data in: RGB frames (H, W, 3) uint8. Data out: an mp4 file whose bytes depend on the frames and the
installed encoder only.
"""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

# One thread: the default depends on the machine, and x264's output on the number of threads.
ENCODER_OPTIONS = {"crf": "23", "preset": "veryfast", "threads": "1"}


def write_video(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    *,
    width: int,
    height: int,
    frames_per_second: int,
) -> None:
    """Encode frames at a constant rate; the file appears under its name only when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    with av.open(partial, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frames_per_second, options=ENCODER_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame_HWC in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    partial.replace(path)
