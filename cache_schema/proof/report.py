"""What a verification says."""

from dataclasses import dataclass

__all__ = ["Problem", "Report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is wrong, as close to its place as it is known."""

    what: str
    stream: str | None = None
    part: str | None = None
    video: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a verification found."""

    problems: list[Problem]
    notes: list[Problem]
    """Worth knowing, and no reason to distrust the store."""
    num_videos: int
    """Commits that were checked, copies included."""
    num_rows: int
