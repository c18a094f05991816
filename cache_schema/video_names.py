"""What files of videos are called."""

__all__ = ["VIDEO_SUFFIXES", "without_video_suffix"]

VIDEO_SUFFIXES = frozenset({".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv"}) | {
    *(".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"),
}
"""What counts as a video inside a folder; a file named directly may have any suffix."""


def without_video_suffix(name: str) -> str:
    """Return a name without its suffix, if that is a video's.

    Examples:
        >>> without_video_suffix("kitchen/0007.MP4"), without_video_suffix("take.v2")
        ('kitchen/0007', 'take.v2')
    """
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in VIDEO_SUFFIXES else name
