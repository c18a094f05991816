"""Write frames as an H.264 file.

Data in: RGB frames (H, W, 3) uint8. Data out: an mp4 file whose bytes depend on the frames and the
installed encoder only.
"""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

ENCODER_OPTIONS = {
    "crf": "23",
    "preset": "veryfast",
    # The default number of threads depends on the machine, and the output on the number of threads.
    "threads": "1",
    # With its macroblock tree x264 made other bytes of equal frames in 2 of 100 encodings.
    "mbtree": "0",
}


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
