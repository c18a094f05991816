"""A network's work on a batch as a CUDA graph: recorded once, then given to the GPU in one piece.

Told operation by operation, a GPU waits for Python: CLIP ViT-B/32 is handed over in 3.8 ms of CPU
time, and as a graph done in 2.7 ms, for 0.05 ms of CPU time. A batch always has the same size, so
that what was done for one can be repeated for all; a graph is used only if it gave the same bits.

Shapes: B batch, F frames of a window, C, H, W network input.
"""

import threading
import warnings

import torch
from torch import Tensor

from extract.encode.encoders.base import Encoder

__all__ = ["GraphedEncoder", "graphed"]

SYNCHRONIZES = "synchronizing CUDA operation"
"""In what torch says of an operation that waits."""


def graphed(encoder: Encoder) -> Encoder:
    """Return an encoder that works by graphs if it is on a GPU, else the same one."""
    return GraphedEncoder(encoder) if encoder.device.type == "cuda" else encoder


class GraphedEncoder:
    """Gives the rows of another encoder; batches of the size that came twice go by a graph."""

    def __init__(self, encoder: Encoder) -> None:
        self.recipe = encoder.recipe
        self.preprocess = encoder.preprocess
        self.row_shape = encoder.row_shape
        self.frames_per_window = encoder.frames_per_window
        self.device = encoder.device
        self._encoder = encoder
        self._last_shape: torch.Size | None = None
        self._graph: _Graph | None = None
        self._is_plain = False

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return the rows of a batch of windows, float32 (B, *row_shape), on ``device``."""
        shape, self._last_shape = self._last_shape, pixels_BFCHW.shape
        if self._graph is not None and self._graph.shape == pixels_BFCHW.shape:
            return self._graph.encode(pixels_BFCHW)
        rows = self._encoder.encode(pixels_BFCHW)
        if self._graph is None and not self._is_plain and shape == pixels_BFCHW.shape:
            self._graph = _recorded(self._encoder, pixels_BFCHW, rows)
            self._is_plain = self._graph is None
        return rows


class _Graph:
    """The recorded work on batches of one shape."""

    def __init__(self, encoder: Encoder, pixels_BFCHW: Tensor) -> None:
        """Record it.

        Raises:
            RuntimeError: if the network waits for the GPU in between; it cannot be recorded then.
        """
        self.shape = pixels_BFCHW.shape
        self._lock = threading.Lock()
        self._pixels_BFCHW = pixels_BFCHW.to(encoder.device, copy=True)
        self._work = torch.cuda.CUDAGraph()
        with torch.cuda.device(encoder.device):
            # A recording that fails would leave torch's memory in disorder.
            if _waits(encoder, self._pixels_BFCHW):
                raise RuntimeError("the network waits for the GPU.")
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(self._work, capture_error_mode="thread_local"):
                self._rows = encoder.encode(self._pixels_BFCHW)

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return the rows of a batch of the shape; all callers use one stream."""
        with self._lock:
            self._pixels_BFCHW.copy_(pixels_BFCHW)
            self._work.replay()
            return self._rows.clone()


def _recorded(encoder: Encoder, pixels_BFCHW: Tensor, rows: Tensor) -> _Graph | None:
    """Return a graph that gives these rows of the batch; None if there is none."""
    try:
        graph = _Graph(encoder, pixels_BFCHW)
    except RuntimeError:
        return None
    again = graph.encode(pixels_BFCHW)
    return graph if torch.equal(again.view(torch.uint8), rows.view(torch.uint8)) else None


def _waits(encoder: Encoder, pixels_BFCHW: Tensor) -> bool:
    """Tell whether handing over a batch waits for the GPU, by handing it over."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        # Not "error": it would also be one in other threads, which may wait as they like.
        torch.cuda.set_sync_debug_mode("warn")
        try:
            encoder.encode(pixels_BFCHW)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return any(SYNCHRONIZES in str(warning.message) for warning in told)
