"""SIGTERM, which batch systems send before they kill: finish the step, save, leave."""

import signal
import threading
from types import FrameType

__all__ = ["StopRequest"]


class StopRequest:
    """Whether this process was asked to stop; a context manager around the work."""

    def __init__(self) -> None:
        self.is_set = False

    def __enter__(self) -> "StopRequest":
        # Python takes signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._set)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._previous)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
