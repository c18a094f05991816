"""Sampled frames on their way out of the decoding process, several in one message.

A message costs either end as much as copying a small frame does, and the parent's interpreter lock
three times, which the thread that encodes is then without.
"""

import time
from collections.abc import Callable

import numpy as np

from cache_schema.errors import VideoError
from extract.decode.frame_slots import FrameSlots
from extract.decode.frames import SampledFrame

__all__ = ["FrameMessages"]

MESSAGE_BYTES = 8 * 2**20
MESSAGE_FRAMES = 32
"""So much goes together; more is not cheaper ..."""

MESSAGE_SECONDS = 0.1
"""... unless the first frame has waited for so long."""

Send = Callable[[dict[str, object], memoryview | None], None]
"""Sends a message: its fields, and raw bytes behind them."""


class FrameMessages:
    """Sends frames of one size and kind together; one that no slot is free for goes alone."""

    def __init__(
        self, slots: FrameSlots, send: Send, wait: Callable[[], object] = lambda: None
    ) -> None:
        """Begin.

        Args:
            slots: Where frames go.
            send: Sends a message.
            wait: Called before one: waits until frames that lie in slots already are whole.
        """
        self._slots = slots
        self._send = send
        self._wait = wait
        self._kind: dict[str, object] = {}
        self._frames: list[tuple[int | None, int]] = []
        self._num_bytes = MESSAGE_BYTES  # the first goes at once: it shows that the video decodes
        self._began = 0.0

    def add(self, frame: SampledFrame) -> None:
        """Put a frame into shared memory, and send it soon.

        Raises:
            VideoError: if it is no image of 8-bit colours.
        """
        pixels = frame.pixels
        is_rgb = pixels.ndim == 3 and pixels.shape[2] == 3
        if pixels.dtype != np.uint8 or not (is_rgb or frame.matrix):
            raise VideoError(
                f"its decoder gives frames of shape {pixels.shape} and type {pixels.dtype}, "
                "expected (height, width, 3) and uint8. Convert the file to 8-bit colour."
            )
        kind: dict[str, object] = {"shape": pixels.shape, "matrix": frame.matrix}
        if kind != self._kind:
            self.flush()
            self._kind = kind
        slot = self._slots.put(pixels)
        if slot is None:
            self.flush()
            self._frames = [(None, frame.num_ticks)]
            self.flush(np.ascontiguousarray(pixels).data.cast("B"))
            return
        if not self._frames:
            self._began = time.monotonic()
        self._frames.append((slot, frame.num_ticks))
        self._num_bytes += pixels.nbytes
        if self._num_bytes >= MESSAGE_BYTES or len(self._frames) == MESSAGE_FRAMES:
            self.flush()

    def flush_old(self) -> None:
        """Send frames that have waited for long."""
        if self._frames and time.monotonic() - self._began > MESSAGE_SECONDS:
            self.flush()

    def flush(self, raw: memoryview | None = None) -> None:
        """Send the frames that wait, if there are any."""
        if self._frames:
            self._wait()
            self._send({"kind": "frames", **self._kind, "frames": self._frames}, raw)
            self._frames, self._num_bytes = [], 0
