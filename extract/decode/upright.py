"""How a frame has to be turned and mirrored to be shown, as its file's display matrix says."""

from typing import NamedTuple

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from numpy.typing import NDArray

__all__ = ["AS_IT_IS", "Upright", "UprightFrames", "upright_of"]


class Upright(NamedTuple):
    """First rows become columns, then the image is mirrored."""

    swaps_axes: bool = False
    mirrors_rows: bool = False
    """Top becomes bottom."""
    mirrors_columns: bool = False
    """Left becomes right."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that are shown."""
        return (width, height) if self.swaps_axes else (height, width)

    def image(self, rgb_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image as it is shown; itself where it is upright."""
        if not any(self):
            return rgb_HWC
        if self.swaps_axes:
            rgb_HWC = rgb_HWC.swapaxes(0, 1)
        rows, columns = (slice(None, None, -1 if mirrors else 1) for mirrors in self[1:])
        return np.ascontiguousarray(rgb_HWC[rows, columns])


AS_IT_IS = Upright()


def upright_of(frame: VideoFrame) -> Upright:
    """Return how a frame becomes upright, to the nearest right angle.

    The matrix (a b u, c d v, x y w) moves a pixel from column p and row q to column a p + c q + x
    and row b p + d q + y (ISO/IEC 14496-12, 6.2.2).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return AS_IT_IS
    (a, b, _), (c, d, _) = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3)[:2].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Upright(True, mirrors_rows=b < 0, mirrors_columns=c < 0)
    return Upright(False, mirrors_rows=d < 0, mirrors_columns=a < 0)


class UprightFrames:
    """How the frames of one video become upright, in the order they come.

    To look at what comes with a frame costs 25 us, a tenth of decoding a small one. So it is done
    where the answer may change: at key frames, and where the angle does.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._upright = AS_IT_IS

    def of(self, frame: VideoFrame) -> Upright:
        """Return how the next frame becomes upright."""
        rotation = frame.rotation
        if frame.key_frame or rotation != self._rotation:
            self._rotation, self._upright = rotation, upright_of(frame)
        return self._upright
