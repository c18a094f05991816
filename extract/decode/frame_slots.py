"""Shared memory through which frames come out of the decoding process without a copy.

    decoding process:   put(frame) -> slot     (None: no slot is free; the socket carries the frame)
                        new(shape) -> memory of the next frame, which then need not be copied
    its parent:         take(slot, shape) -> frame, a view; once it has gone away, release()

Nothing ever waits for a slot, so a parent that keeps many frames costs speed and never the run.
"""

import math
import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameMemory", "FrameSlots", "new_slots"]

Bytes = NDArray[np.uint8]

MAX_SLOTS = mmap.PAGESIZE
"""A byte for each comes first: 1 while the parent has the frame or has yet to hear of it."""

PIXEL_BYTES = 192 * 2**20
"""What the chunks that wait for the encoder may hold (``extract.pipeline.decode_stage``), and
some more."""

FREE, TAKEN = b"\0", b"\1"


def new_slots() -> int:
    """Return the descriptor of new shared memory; its pages exist once they are written to.

    It is empty where files may not be so large (``ulimit -f``).
    """
    descriptor = os.memfd_create("frames")
    with suppress(OSError):
        os.truncate(descriptor, MAX_SLOTS + PIXEL_BYTES)
    return descriptor


class FrameMemory(mmap.mmap):
    """Shared memory as one process sees it; it ends once neither slots nor frames refer to it."""

    before_end: Callable[[], object] | None = None
    """Called while it is still there; a weak reference would be told when it is not any more."""

    def __del__(self) -> None:
        if self.before_end is not None:
            self.before_end()


class FrameSlots:
    """One end of shared memory that is cut into slots of one frame each.

    The size of a slot is that of the frames; it changes when no frame is out.
    """

    def __init__(self, descriptor: int) -> None:
        """Map memory of ``new_slots``; the descriptor may be closed afterwards."""
        size = os.fstat(descriptor).st_size
        self._memory = FrameMemory(descriptor, size) if size else None
        self._slot_bytes = 0
        self._offered: tuple[int, int] | None = None
        """Address of the memory that was last ``new``, and its slot."""
        self._slots_out: dict[weakref.ref[_Pixels], int] = {}
        self._gone = deque[weakref.ref[_Pixels]]()

    @property
    def memory(self) -> FrameMemory | None:
        """What all slots lie in; None where files may not be so large."""
        return self._memory

    def put(self, frame: Bytes) -> int | None:
        """Copy a frame into a free slot and return that, None if there is none.

        One that lies in memory that is ``new`` stays where it is, though it may not be filled yet.
        """
        if self._offered and self._offered[0] == frame.ctypes.data:
            slot = self._offered[1]
        else:
            free = self._free(frame.nbytes)
            if free is None:
                return None
            slot, pixels = free
            pixels.reshape(frame.shape)[...] = frame
        assert self._memory is not None  # the slot came from it
        self._memory[slot] = ord(TAKEN)
        self._offered = None
        return slot

    def new(self, shape: tuple[int, ...]) -> Bytes:
        """Return memory for the frame that is put next: a free slot's, if there is one."""
        free = self._free(math.prod(shape))
        if free is None:
            return np.empty(shape, np.uint8)
        slot, pixels = free
        self._offered = (pixels.ctypes.data, slot)
        return pixels.reshape(shape)

    def _free(self, num_bytes: int) -> tuple[int, Bytes] | None:
        """Return the first free slot, so that few pages are touched, and its memory."""
        if self._memory is None:
            return None
        if num_bytes != self._slot_bytes:
            if self._memory.find(TAKEN, 0, MAX_SLOTS) >= 0:
                return None
            self._slot_bytes = num_bytes
        slot = self._memory.find(FREE, 0, min(MAX_SLOTS, PIXEL_BYTES // num_bytes))
        return None if slot < 0 else (slot, _pixels(self._memory, slot, num_bytes))

    def take(self, slot: int, shape: tuple[int, ...]) -> Bytes:
        """Return the frame of a slot, which is used until nothing refers to the frame's pixels."""
        assert self._memory is not None  # the slot came from it
        pixels = _Pixels(_pixels(self._memory, slot, math.prod(shape)), shape)
        # No Python runs when a frame goes away: a Ctrl-C that met it there would be swallowed.
        self._slots_out[weakref.ref(pixels, self._gone.append)] = slot
        return np.asarray(pixels)

    def release(self) -> None:
        """Free the slots of the frames that have gone away since the last call."""
        while self._gone:
            assert self._memory is not None
            self._memory[self._slots_out.pop(self._gone.popleft())] = ord(FREE)


def _pixels(memory: mmap.mmap, slot: int, num_bytes: int) -> Bytes:
    return np.frombuffer(memory, np.uint8, num_bytes, MAX_SLOTS + slot * num_bytes)


class _Pixels:
    """Owner of a frame's pixels: NumPy keeps it for as long as any view of them.

    An array would not do: a view of a view refers to the memory behind both.
    """

    def __init__(self, pixels: Bytes, shape: tuple[int, ...]) -> None:
        self._pixels = pixels
        self.__array_interface__ = pixels.reshape(shape).__array_interface__
