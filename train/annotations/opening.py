"""What lies at a path: a task's official files, or a file of our own format.

Path in, the source of the task's annotations out; both kinds have the same methods.
"""

from fractions import Fraction
from pathlib import Path

from train.annotations.breakfast import BreakfastFolder
from train.annotations.breakfast_coarse import BreakfastCoarse, is_coarse
from train.annotations.ego4d_clips import Ego4dMoments, Ego4dQueries, MomentSource, QuerySource
from train.annotations.ego4d_lta import Ego4dLta, LtaSource
from train.annotations.epic import EpicFolder
from train.annotations.narrations import NarrationFiles, NarrationSource
from train.annotations.own_labels import is_own_labels
from train.annotations.qvhighlights import (
    HighlightSource,
    QVHighlightsFiles,
    is_qvhighlights,
)
from train.annotations.video_sources import (
    LabelledVideos,
    VideoActions,
    VideoCaptions,
    VideoHighlights,
    VideoMoments,
    VideoQueries,
)

__all__ = [
    "LabelSource",
    "open_actions",
    "open_future_actions",
    "open_highlights",
    "open_labels",
    "open_moments",
    "open_narrations",
    "open_queries",
]


LabelSource = BreakfastFolder | BreakfastCoarse | LabelledVideos


def open_labels(path: Path, label_fps: Fraction) -> LabelSource:
    """Return labels of frames (Breakfast)."""
    if is_own_labels(path):
        return LabelledVideos(path, label_fps)
    return BreakfastCoarse(path) if is_coarse(path) else BreakfastFolder(path)


def open_actions(path: Path) -> EpicFolder | VideoActions:
    """Return actions by verb and noun (EPIC-KITCHENS-100)."""
    return VideoActions(path) if is_own_labels(path) else EpicFolder(path)


def open_future_actions(path: Path) -> LtaSource:
    """Return clips of actions in their order (Ego4D)."""
    return VideoActions(path) if is_own_labels(path) else Ego4dLta(path)


def open_moments(path: Path) -> MomentSource:
    """Return moments of clips (Ego4D)."""
    return VideoMoments(path) if is_own_labels(path) else Ego4dMoments(path)


def open_queries(path: Path) -> QuerySource:
    """Return queries about clips (Ego4D)."""
    return VideoQueries(path) if is_own_labels(path) else Ego4dQueries(path)


def open_narrations(path: Path) -> NarrationSource:
    """Return narrations (Ego4D)."""
    return VideoCaptions(path) if is_own_labels(path) else NarrationFiles(path)


def open_highlights(path: Path) -> HighlightSource:
    """Return queries and the saliency of clips (QVHighlights)."""
    is_own = is_own_labels(path) and not is_qvhighlights(path)
    return VideoHighlights(path) if is_own else QVHighlightsFiles(path)
