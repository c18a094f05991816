"""What is raised while a video is read with PyAV, as sentences, and which of it stands.

What FFmpeg says of a file's content stands: it will say so again. What a network, a file system or
the lack of memory says may have passed by the next run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from cache_schema.errors import PassingVideoError, StoreError, VideoError
from cache_schema.place import Place

__all__ = ["av_reason", "open_errors", "read_errors"]

AGAIN = "Once it can be read, run the same command again."


@contextmanager
def open_errors(path: Place) -> Iterator[None]:
    """Turn what opening a file or an object raises into a sentence.

    Raises:
        PassingVideoError: if it could not be read.
        VideoError: if FFmpeg makes no video of what is there.
    """
    try:
        yield
    except StoreError as error:
        raise PassingVideoError(f"cannot be read: {error}") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        if _may_pass(path, error):
            raise PassingVideoError(f"{_not_opened(error)} {AGAIN}") from error
        raise VideoError(_no_video(path, error)) from error


@contextmanager
def read_errors(failed: Callable[[], str]) -> Iterator[None]:
    """Turn what reading an open file or object raises into a sentence.

    Args:
        failed: Returns what could not be done by then.

    Raises:
        PassingVideoError: if it could not be read any further.
        VideoError: if FFmpeg gives up on what is there.
    """
    try:
        yield
    except StoreError as error:
        raise PassingVideoError(f"cannot be read to its end: {error}") from error
    except (OSError, MemoryError) as error:
        raise PassingVideoError(f"{failed()}: {av_reason(error)}. {AGAIN}") from error
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{failed()}: {av_reason(error)}. Get the file again.") from error


def av_reason(error: Exception) -> str:
    """Return what FFmpeg says, without the number and the place."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".")


def _may_pass(path: Place, error: Exception) -> bool:
    """Tell whether what could not be opened may be whole all the same.

    FFmpeg has the system's errors for contents, too: Matroska that ends within its header is an
    "Input/output error". So a file is opened through Python, whose errors of the system are not
    FFmpeg's, as those of objects never are.
    """
    if isinstance(error, OSError) and isinstance(error, av.FFmpegError):
        return isinstance(path, Path) and not _has_bad_content(path)
    return isinstance(error, OSError | MemoryError)


def _has_bad_content(path: Path) -> bool:
    try:
        with path.open("rb") as file, av.open(file, mode="r", metadata_errors="replace"):
            return False  # the system let FFmpeg read it this time
    except (av.FFmpegError, ValueError):
        return True
    except OSError:
        return False


def _no_video(path: Place, error: Exception) -> str:
    if not isinstance(error, av.error.InvalidDataError | EOFError | OSError):
        return _not_opened(error)
    if isinstance(path, Path) and path.stat().st_size == 0:
        return "is empty (0 bytes). Get the file again."
    return f"{_not_opened(error)} It is no video, or its index was cut off. Get the file again."


def _not_opened(error: Exception) -> str:
    return f"cannot be opened as a video: {av_reason(error)}."
