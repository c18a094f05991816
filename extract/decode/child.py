"""The decoding process: requests in, frames out, over one socket and shared memory.

Native decoders hang and crash, so they run apart from the encoder and the store. This module is
what runs there; ``extract.decode.process`` is the other end. It imports what decoding needs and no
torch. Its messages (``extract.decode.wire`` packs them):

    broken  it cannot start, and why: a library that decodes cannot be imported
    alive   it started, or decoded further without a frame to show
    frames  sampled frames of one size; their pixels lie in slots, or are one's and the raw bytes
    facts   the video's end; the raw bytes are its frames' times
    probed  the duration a header declares
    error   a sentence on why the video cannot be used, and whether that stands for later runs
"""

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from cache_schema.errors import VideoError
from cache_schema.place import Place, recorded_place
from extract.decode.copy_threads import CopyThreads
from extract.decode.frame_messages import FrameMessages
from extract.decode.frame_slots import FrameSlots
from extract.decode.frames import (
    FrameSource,
    GivesPlanes,
    VideoFacts,
    sample_frames,
)
from extract.decode.wire import HEAD, pack
from extract.process_memory import freed_memory_kept, peak_bytes

__all__ = ["Opener", "main"]

ALIVE_SECONDS = 1.0
"""How often a stretch without sampled frames is said to go on."""

OUT_OF_MEMORY_SCORE = "500"
"""Of 1000: whom the kernel ends first. A lost video is better than a lost run."""

PR_SET_PDEATHSIG = 1

Opener = Callable[[Place, str], FrameSource]
Probe = Callable[[Place], float]


def main() -> None:
    """Serve requests until the other end closes. Arguments: socket, slots, opener, parent's id."""
    number, slots, opener, parent = sys.argv[1:5]
    _die_with(int(parent))
    # Frames come and go, each as large as the one before. Once the other end is gone, nobody waits
    # for an answer.
    with freed_memory_kept(), suppress(ConnectionError):
        _Child(socket.socket(fileno=int(number)), FrameSlots(int(slots))).serve(opener)
    # Not the usual end: threads of a native decoder may still be at work.
    os._exit(0)


def _die_with(parent: int) -> None:
    """Have the kernel end this process when the thread that started it ends, however it does.

    A closed socket would not do: a decoder that hangs never looks at it.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)
    with suppress(OSError):  # a wish; some sandboxes forbid it
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_SCORE)


class _Child:
    """Answers one request after the other."""

    def __init__(self, connection: socket.socket, slots: FrameSlots) -> None:
        self._connection = connection
        self._slots = slots
        self._copies = CopyThreads()
        self._spoke = 0.0

    def serve(self, opener: str) -> None:
        try:
            self._open_source, self._probe = _decoders(opener)
        except Exception as error:  # whatever a library raises that is there by half
            self._send({"kind": "broken", "why": f"{type(error).__name__}: {error}"})
            return
        self._send({"kind": "alive"})
        with self._connection, self._connection.makefile("rb") as requests:
            while head := requests.read(HEAD.size):
                num_text, _ = HEAD.unpack(head)
                self._answer(json.loads(requests.read(num_text)))

    def _answer(self, request: dict[str, Any]) -> None:
        path = recorded_place(request["path"], request["version"])
        try:
            if request["kind"] == "probe":
                self._send({"kind": "probed", "seconds": self._probe(path)})
            else:
                fps = None if request["fps"] is None else Fraction(request["fps"])
                self._decode(path, request["backend"], fps, planes=request["planes"])
        except ConnectionError:
            raise
        except VideoError as error:
            self._fail(str(error), stands=error.stands)
        except MemoryError:
            sentence = "decoding needs more memory than there is. Give the process more memory."
            self._fail(sentence, stands=False)
        except Exception as error:
            # A fault of ours or of a library, perhaps, and not of the file.
            sentence = f"unexpected {type(error).__name__}: {error}. The next run tries it again."
            self._fail(sentence, stands=False)

    def _decode(self, path: Place, backend: str, fps: Fraction | None, *, planes: bool) -> None:
        facts: list[VideoFacts] = []
        source = self._open_source(path, backend)
        if planes and isinstance(source, GivesPlanes):
            source.give_planes(self._slots.new, self._copies.run)
        messages = FrameMessages(self._slots, self._send, self._copies.wait)

        def on_frame() -> None:
            messages.flush_old()
            self._say_alive()

        try:
            for frame in sample_frames(source, fps, facts, on_frame):
                messages.add(frame)
        finally:
            messages.flush()  # slots of frames that the parent never hears of would not be freed
        self._send_facts(facts[0])

    def _send_facts(self, facts: VideoFacts) -> None:
        fields: dict[str, object] = {
            "kind": "facts",
            "duration_seconds": facts.duration_seconds,
            "num_frames": facts.num_frames,
            "fps": str(facts.fps),
            "width": facts.width,
            "height": facts.height,
            "decoder": facts.decoder,
        }
        self._send(fields | _used(), facts.frame_seconds.data.cast("B"))

    def _fail(self, sentence: str, *, stands: bool) -> None:
        self._send({"kind": "error", "sentence": sentence, "stands": stands} | _used())

    def _say_alive(self) -> None:
        if time.monotonic() - self._spoke > ALIVE_SECONDS:
            self._send({"kind": "alive"})

    def _send(self, fields: dict[str, object], raw: memoryview | None = None) -> None:
        self._connection.sendall(pack(fields, raw.nbytes if raw else 0))
        if raw:
            self._connection.sendall(raw)
        self._spoke = time.monotonic()


def _decoders(opener: str) -> tuple[Opener, Probe]:
    # Here, so that what cannot be imported is told to the other end.
    from extract.decode.pyav_source import probe

    module, _, function = opener.partition(":")
    return getattr(importlib.import_module(module), function), probe


def _used() -> dict[str, object]:
    """Return what this process has taken so far."""
    return {"cpu_seconds": time.process_time(), "peak_bytes": peak_bytes()}
