"""What went wrong on the way of a live source, and how often."""

from dataclasses import dataclass

__all__ = ["LiveCounts"]


@dataclass(slots=True)
class LiveCounts:
    """Counted from the start of the stream."""

    dropped_rows: int = 0
    """Rows that were left out since the machine was too slow for them."""
    late_frames: int = 0
    """Frames that came later than their own time says, by more than a tick."""
    damaged_frames: int = 0
    """Frames that could not be decoded, had no time, or came behind a later one."""
    reconnects: int = 0
    """How often a source was opened again, or its clock jumped."""
