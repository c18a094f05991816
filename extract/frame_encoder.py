"""Frames in memory -> rows, by the very steps of stage 1: the same bits as stored rows.

Shapes: N frames, H, W pixels, R rows, 2 start and end seconds.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.errors import ConfigError, VideoError
from cache_schema.recipe import Recipe
from cache_schema.stored_numbers import Array
from cache_schema.stream import FeatureRows
from cache_schema.timeline import RowClock
from extract.config import EncoderSettings, ExtractConfig, settings_of_call
from extract.decode.frames import SampledFrame, checked_frame
from extract.encode.batching import EncodeQueue, Result, Rows, to_stored
from extract.encode.cpu_threads import EncodeThreads, threads_for
from extract.encode.gpu.clock import GpuClock
from extract.encode.network_input import network_input
from extract.encode.windows import WindowAssembler
from extract.plan.targets import Target, build_targets

__all__ = ["FrameEncoder", "load_encoder"]

FRAMES_AT_ONCE = 16
"""Preprocessed together on a GPU; each is worked on alone, so rows do not depend on it."""


class FrameEncoder:
    """An encoder for frames that are in memory; made by ``load_encoder``."""

    def __init__(self, target: Target, config: ExtractConfig) -> None:
        self._target = target
        self._batch_size = config.batch_size

    def __repr__(self) -> str:
        fps = f"{self.recipe.sampling.fps} frames/s"
        return f"<FrameEncoder {self.recipe.encoder.id}: rows of {self.row_shape}, {fps}>"

    @property
    def recipe(self) -> Recipe:
        """What ``vllm-extract`` would say of these rows in a store."""
        return self._target.recipe

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(dim,) or (tokens, dim)."""
        return self._target.encoder.row_shape

    @property
    def frames_per_window(self) -> int:
        """Frames that make one row."""
        return self.recipe.sampling.frames_per_window

    def encode(self, frames_NHWC: Iterable[NDArray[np.uint8]]) -> FeatureRows:
        """Return the rows of one video's sampled frames.

        Stage 1 decodes, samples at ``fps``, and does this: preprocessing, windows with the last
        frame repeated at the end, batches of one size, and rounding to the stored dtype. The rows
        of equal frames are equal bit for bit on the same machine.

        Args:
            frames_NHWC: RGB images (H, W, 3), ``fps`` of them a second from second 0 on: one
                array (N, H, W, 3), a list, or an iterator, which keeps memory small and may give
                the same array again and again, with the next image in it.

        Returns:
            The rows: ``float32`` to compute with, ``values`` as they would be stored, and
            ``times_R2``, in which the last frame is shown for a whole tick.

        Raises:
            VideoError: if a frame is no uint8 RGB image, or a row is infinite or NaN.
        """
        sampling = self.recipe.sampling
        assert sampling.fps is not None  # load_encoder has seen to it
        windows = WindowAssembler(sampling.frames_per_window, sampling.stride_frames)
        blocks = list(self._blocks(frames_NHWC, windows))
        none = to_stored(torch.empty(0, *self.row_shape), self.recipe.store_dtype)
        clock = RowClock(sampling, end_seconds=float(windows.num_frames / sampling.fps))
        return FeatureRows(
            values=np.concatenate([none, *blocks]), times_R2=clock.times(0, windows.num_windows)
        )

    def _windows(
        self,
        frames_NHWC: Iterable[NDArray[np.uint8]],
        windows: WindowAssembler,
        clock: GpuClock,
    ) -> Iterator[Tensor]:
        encoder = self._target.encoder
        # The next frame may be written to where this one lies: by then it is network input, or
        # lies elsewhere.
        on_cpu = encoder.device.type == "cpu"
        frames = map(_sampled if on_cpu else _locked, frames_NHWC)
        while block := list(islice(frames, 1 if on_cpu else FRAMES_AT_ONCE)):
            for pixels_CHW in network_input(encoder, block, clock=clock):
                yield from windows.push(pixels_CHW, 1)
        yield from windows.finish()

    def _blocks(
        self, frames_NHWC: Iterable[NDArray[np.uint8]], windows: WindowAssembler
    ) -> Iterator[Array]:
        """Yield the rows in the stored dtype, as many at a time as the batches give."""
        with EncodeThreads(threads_for(1)) as threads:
            queue: EncodeQueue[FrameEncoder] = EncodeQueue(
                self._target.encoder, threads, self._batch_size, self.recipe.store_dtype
            )
            for window_FCHW in self._windows(frames_NHWC, windows, threads.gpu_clock):
                yield from map(self._values, queue.push(self, window_FCHW))
            yield from map(self._values, queue.flush())

    def _values(self, result: Result["FrameEncoder"]) -> Array:
        if isinstance(result, Rows):
            return result.values
        raise VideoError(
            f"encoder '{self.recipe.encoder.id}': a feature is infinite or NaN in "
            f"{self.recipe.store_dtype}. Choose another store_dtype or compute_dtype."
        )


def load_encoder(
    name: str | Path, *, config: str | Path | None = None, **settings: Unpack[EncoderSettings]
) -> FrameEncoder:
    """Load an encoder for frames that are in memory.

    Args:
        name: As for ``extract``: a built-in name, an installed encoder's, ``file.py:Name``, a hub
            id or a local folder.
        config: A pipeline.toml to start from. The one of the current folder is not read unless it
            is named.
        **settings: Any of ``fps``, ``stride_frames``, ``pooling``, ``compute_dtype``,
            ``runtime``, ``store_dtype``, ``device``, ``batch_size`` and ``trust_remote_code``, as
            in the [extract] table of pipeline.toml. ``fps`` is the rate at which the frames were
            taken; it decides the rows' times and nothing else.

    Raises:
        ConfigError: if there is no such encoder, or a setting does not fit it.
    """
    found = settings_of_call({**settings, "encoders": name}, config)
    if not found.fps:
        raise ConfigError("fps is 0: frames in memory have no times of their own, give their rate.")
    return FrameEncoder(build_targets(found, None)[0], found)


def _sampled(rgb: NDArray[np.uint8]) -> SampledFrame:
    return SampledFrame(pixels=checked_frame(rgb), num_ticks=1)


def _locked(rgb: NDArray[np.uint8]) -> SampledFrame:
    """Return a copy that a GPU fetches by itself; otherwise one would be made there."""
    copied = torch.empty(checked_frame(rgb).shape, dtype=torch.uint8, pin_memory=True).numpy()
    np.copyto(copied, rgb)
    return SampledFrame(pixels=copied, num_ticks=1)
