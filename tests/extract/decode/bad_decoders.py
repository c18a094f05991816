"""Decoders that go wrong natively, to be named as a decoder process's opener.

The last part of a video's name says what becomes of it; every other video is read as usual.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from fractions import Fraction

import numpy as np

from cache_schema.errors import VideoError
from extract.decode import frame_slots
from extract.decode.backends import open_video


def sleep(seconds=3600):
    # In C and holding the interpreter lock, as a deadlock in a native library does.
    ctypes.PyDLL(None).sleep(seconds)


def segfault():
    ctypes.string_at(0)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def be_ended():
    os.kill(os.getpid(), signal.SIGTERM)


def leave():
    os._exit(7)


def hang_up():
    os.close(int(sys.argv[1]))  # the connection
    sleep()


def stumble():
    raise AttributeError("module 'av' has no attribute 'open'")


def exhaust_memory():
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    return np.ones(2**32)


FATES = {
    "sleeps": sleep,
    "segfaults": segfault,
    "killed": be_killed,
    "ended": be_ended,
    "leaves": leave,
    "exhausts": exhaust_memory,
    "hangs-up": hang_up,
    "stumbles": stumble,
}


class Source:
    """Frames of any shape at any times; runs ``fate`` before its third frame."""

    decoder = "fake 1"
    fps = Fraction(1)
    size = (4, 6)

    def __init__(self, fate=lambda: None, shape=(4, 6, 3), num_frames=4):
        self.fate = fate
        self.shape = shape
        self.num_frames = num_frames

    def __iter__(self):
        for number in range(self.num_frames):
            if number == 2:
                self.fate()
            yield Fraction(number), lambda: np.zeros(self.shape, np.uint8)

    def end_seconds(self, last_seconds):
        return last_seconds + 1


class Slow(Source):
    """Takes its time over frames that no tick falls on."""

    def __iter__(self):
        for number in range(30):
            time.sleep(0.1)
            yield Fraction(number, 1000), lambda: np.zeros(self.shape, np.uint8)


class Breaks(Source):
    """Fails behind its tenth frame."""

    def __iter__(self):
        yield from super().__iter__()
        raise VideoError("is damaged.")


def open_bad(path, backend):
    kind = path.stem.split("_")[-1]
    if kind in FATES:
        return Source(FATES[kind])
    if kind == "channels":
        return Source(shape=(4, 6, 4))
    if kind == "slow":
        return Slow()
    if kind == "breaks":
        return Breaks(num_frames=10)
    return open_video(path, backend)


def open_endless(path, backend):
    return Source(num_frames=10**9)


def open_few_slots(path, backend):
    """Read a video where no more than two of its frames find a slot."""
    source = open_video(path, backend)
    frame_slots.PIXEL_BYTES = 2 * 3 * source.size[0] * source.size[1]
    return source
