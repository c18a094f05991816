"""How far a run is, for whoever started it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "ProgressCounter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How much of a run's video time has been encoded."""

    done_seconds: float
    """Of video, by all workers together."""
    total_seconds: float
    """As the files' headers declare; the true number may differ a little."""


class ProgressCounter:
    """Adds up what was encoded."""

    def __init__(
        self,
        total_seconds: float,
        show: Callable[[float], object],
        tell: Callable[[Progress], object],
    ) -> None:
        self._done_seconds = 0.0
        self._total_seconds = total_seconds
        self._show = show
        self._tell = tell

    def advance(self, seconds: float) -> None:
        """Take note of video-seconds that were just encoded."""
        self._done_seconds += seconds
        self._show(seconds)
        self._tell(Progress(done_seconds=self._done_seconds, total_seconds=self._total_seconds))
