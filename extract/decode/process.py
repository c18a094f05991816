"""Decoding that survives hangs and crashes: a child process, and a watchdog over it.

    caller  <--frames, facts, sentences--  child (``extract.decode.child``)

The child is a plain subprocess, not one of ``multiprocessing``: workers of a cluster are daemonic
processes, which ``multiprocessing`` allows no children, and its ``spawn`` runs the main script
again. It gets this process's module search path and nothing else of it. It is kept for many
videos and replaced after it hung or died.
"""

import json
import os
import queue
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import PassingVideoError, VideoError
from cache_schema.place import Address, Place
from extract.decode.frame_slots import FrameMemory, FrameSlots, new_slots
from extract.decode.frames import SampledFrame, VideoFacts
from extract.decode.obituary import never_began, obituary
from extract.decode.planes import YuvMatrix
from extract.decode.wire import HEAD, facts_of, pack

Bytes = NDArray[np.uint8]

__all__ = ["DecoderProcess", "Prober"]

HANG_SECONDS = 60.0
"""A decoder that shows nothing for so long, not even that it goes on, is taken for hung.

Time in which this process is itself stopped (SIGSTOP, a suspended job) does not count."""

PATIENCE_SECONDS = 0.2
"""How often a wait looks whether it is still wanted."""

BURIAL_SECONDS = 5.0
"""How long a child that closed its connection may take to end."""

OPENER = "extract.decode.backends:open_video"

ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""For a child: NumPy's library starts a thread for each core, and a decoder multiplies nothing."""

BOOT = "import sys; sys.path[:] = sys.argv[5:]; from extract.decode.child import main; main()"


class DecoderProcess:
    """One child process that opens and decodes videos, one after the other."""

    def __init__(
        self,
        *,
        opener: str = OPENER,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._is_stopped = False
        self._opener = opener
        self._hang_seconds = hang_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._slots: FrameSlots | None = None
        self._show_memory: Callable[[FrameMemory], object] | None = None
        self._begun: dict[str, object] | None = None
        self._has_spoken = False
        """Whether the child has said anything."""
        self._child_cpu_seconds = 0.0
        self.cpu_seconds = 0.0
        """What the children had used when they last answered; one that dies takes some along."""
        self.peak_bytes = 0
        """Most memory that one of them had held by then."""

    def __enter__(self) -> "DecoderProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the child, ahead of its first video; one that has begun to decode is replaced.

        It ends with the thread that calls this.
        """
        if self._begun is not None:
            self.close()
        self._connected()

    def show_memory(self, show: Callable[[FrameMemory], object]) -> None:
        """Have a function see the memory that frames come in: that of each child, as it starts."""
        self._show_memory = show
        self._show()

    def begin(
        self, path: Place, backend: str, fps: Fraction | None, *, planes: bool = False
    ) -> None:
        """Have the child decode a video that ``decode`` will ask for.

        It goes as far as there are slots for its frames, and then waits. Asked for another video,
        it is replaced; asked for the same one with or without planes, it goes on as it began.
        """
        connection = self._connected()
        self._begun = _decoding(path, backend, fps, planes)
        _send(connection, self._begun)

    def stop(self) -> None:
        """Have what waits for the child raise ``VideoError``; another thread may call this."""
        self._is_stopped = True

    def decode(
        self, path: Place, backend: str, fps: Fraction | None, *, planes: bool = False
    ) -> Iterator[SampledFrame | VideoFacts]:
        """Yield a video's sampled frames and then its facts, as ``extract.decode`` makes them.

        Args:
            path: Of the video.
            backend: What decodes.
            fps: Ticks per second of video time; None takes every frame.
            planes: Whether frames may come as ``Planes``, for whoever makes RGB of them himself.

        Raises:
            VideoError: if it cannot be decoded, or its decoder hung or crashed.
            PipelineError: if no child can decode anything.
        """
        for fields, raw in self._ask(_decoding(path, backend, fps, planes)):
            if fields["kind"] == "frames":
                yield from self._frames(fields, raw)
            else:
                yield facts_of(fields, raw.tobytes())
                return

    def _frames(self, fields: dict[str, Any], raw: Bytes) -> Iterator[SampledFrame]:
        assert self._slots is not None  # the child that answers has them
        self._slots.release()
        shape = tuple(fields["shape"])
        matrix = fields["matrix"] and YuvMatrix(*fields["matrix"])
        for slot, num_ticks in fields["frames"]:
            pixels = raw.reshape(shape) if slot is None else self._slots.take(slot, shape)
            yield SampledFrame(pixels=pixels, num_ticks=num_ticks, matrix=matrix)

    def probe(self, path: Place) -> float:
        """Return the duration in seconds that the file's header declares; 0 if it does not.

        Raises:
            VideoError: if the file holds no video, or opening it hung or crashed.
            PipelineError: if no child can decode anything.
        """
        fields, _ = next(self._ask({"kind": "probe", **_named(path)}))
        return float(fields["seconds"])

    def close(self) -> None:
        """End the child; there is nothing in it to lose."""
        if self._connection is not None:
            self._connection.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._connection = self._slots = self._begun = None

    def _ask(self, request: dict[str, object]) -> Iterator[tuple[dict[str, Any], Bytes]]:
        """Yield the answers to a request, without those that only say that it goes on."""
        is_answered = False
        try:
            connection = self._asked(request)
            while not is_answered:
                fields, raw = self._receive(connection)
                if fields["kind"] == "broken":
                    raise never_began(fields["why"])
                self._has_spoken = True
                if fields["kind"] == "alive":
                    continue
                is_answered = fields["kind"] != "frames"
                self._note_use(fields)
                if fields["kind"] == "error":
                    kind = VideoError if fields["stands"] else PassingVideoError
                    raise kind(fields["sentence"])
                yield fields, raw
        except TimeoutError:
            raise PassingVideoError(
                f"the decoder gave nothing for {self._hang_seconds:g} s and was stopped. The next "
                "run tries it again; if that ends so, too, get the file again, or re-encode it."
            ) from None
        except ConnectionError:
            raise obituary(self._end_of_child(), has_spoken=self._has_spoken) from None
        finally:
            if not is_answered:
                self.close()

    def _asked(self, request: dict[str, object]) -> socket.socket:
        """Return the connection to a child that answers this request and no other."""
        connection = self._connected()
        if self._begun and self._begun | {"planes": request.get("planes")} != request:
            self.close()
            connection = self._connected()
        if self._begun is None:
            _send(connection, request)
        self._begun = None
        return connection

    def _note_use(self, fields: dict[str, Any]) -> None:
        self.peak_bytes = max(self.peak_bytes, fields.get("peak_bytes", 0))
        used = fields.get("cpu_seconds", self._child_cpu_seconds)
        self.cpu_seconds += used - self._child_cpu_seconds
        self._child_cpu_seconds = used

    def _connected(self) -> socket.socket:
        """Return the connection to a child that lives."""
        if self._connection is None or self._child is None or self._child.poll() is not None:
            self.close()
            self._connection = self._start()
        return self._connection

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._child_cpu_seconds = 0.0
        self._has_spoken = False
        with theirs, os.fdopen(new_slots(), "rb") as memory:
            descriptors = [theirs.fileno(), memory.fileno()]
            arguments = [*map(str, descriptors), self._opener, str(os.getpid()), *sys.path]
            self._slots = FrameSlots(memory.fileno())
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=descriptors,
                env=os.environ | ONE_BLAS_THREAD,
                process_group=0,  # Ctrl-C is for this process, which then ends the child
            )
        # The kernel's timeout and not Python's: a frame then arrives in one call, not in thirty
        # that each wait for the interpreter lock.
        seconds, microseconds = divmod(round(PATIENCE_SECONDS * 1e6), 1_000_000)
        timeout = struct.pack("@ll", seconds, microseconds)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._show()
        return ours

    def _show(self) -> None:
        if self._show_memory and self._slots and self._slots.memory:
            self._show_memory(self._slots.memory)

    def _receive(self, connection: socket.socket) -> tuple[dict[str, Any], Bytes]:
        # Waits are counted, not seconds: while this process is stopped none of them ends.
        waits = iter(range(round(self._hang_seconds / PATIENCE_SECONDS)))
        head = self._read(connection, HEAD.size, waits)
        num_text, num_raw = HEAD.unpack(head.data)
        text = self._read(connection, num_text, waits)
        return json.loads(text.tobytes()), self._read(connection, num_raw, waits)

    def _read(self, connection: socket.socket, num_bytes: int, waits: Iterator[int]) -> Bytes:
        data = np.empty(num_bytes, np.uint8)
        rest = data.data
        while rest:
            try:
                got = connection.recv_into(rest, 0, socket.MSG_WAITALL)
            except BlockingIOError:
                got = -1
            if self._is_stopped:
                raise VideoError("the run was stopped.")
            if got == 0:
                raise ConnectionResetError
            if got < 0 and next(waits, None) is None:
                raise TimeoutError
            rest = rest[max(got, 0) :]
        return data

    def _end_of_child(self) -> int | None:
        """Return the exit code of a child that closed its connection; None if it does not end."""
        assert self._child is not None
        try:
            return self._child.wait(BURIAL_SECONDS)
        except subprocess.TimeoutExpired:
            return None


def _send(connection: socket.socket, request: dict[str, object]) -> None:
    # A child that has died by now is noticed by what it said last, and the end behind it.
    with suppress(ConnectionError):
        connection.sendall(pack(request))


def _decoding(path: Place, backend: str, fps: Fraction | None, planes: bool) -> dict[str, object]:
    rate = None if fps is None else str(fps)
    return {"kind": "decode", **_named(path), "backend": backend, "fps": rate, "planes": planes}


def _named(path: Place) -> dict[str, object]:
    version = path.version if isinstance(path, Address) else ""
    return {"path": str(path), "version": version}


class Prober:
    """Reads headers in child processes; threads may share it.

    A header on a slow network file system takes as long as a crash report, so there may be
    several children; but starting one costs more than most headers, so another one is started
    only when a thread has waited for ``WAIT_SECONDS``.
    """

    WAIT_SECONDS = 1.0

    def __init__(self, first: DecoderProcess, max_processes: int) -> None:
        """Prepare to read.

        Args:
            first: Reads, too, and is kept afterwards.
            max_processes: How many there may be, with that one.
        """
        self._unborn = queue.SimpleQueue[DecoderProcess]()
        self._idle = queue.LifoQueue[DecoderProcess]()
        self._first = first
        self._others = [DecoderProcess() for _ in range(max_processes - 1)]
        self._idle.put(first)
        for process in self._others:
            self._unborn.put(process)

    def __enter__(self) -> "Prober":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._others:
            process.close()

    def start(self) -> None:
        """Start the first process; it ends with the thread that calls this."""
        self._first.start()

    def probe(self, path: Place) -> float:
        """Return the duration in seconds that the file's header declares; 0 if it does not.

        Raises:
            VideoError: if the file holds no video, or opening it hung or crashed.
            PipelineError: if no child can decode anything.
        """
        process = self._take()
        try:
            return process.probe(path)
        finally:
            self._idle.put(process)

    def _take(self) -> DecoderProcess:
        while True:
            with suppress(queue.Empty):
                return self._idle.get(timeout=self.WAIT_SECONDS)
            with suppress(queue.Empty):
                return self._unborn.get_nowait()
