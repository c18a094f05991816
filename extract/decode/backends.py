"""Choose the backend that reads a video."""

from pathlib import Path

from cache_schema.place import Place
from extract.decode.frames import FrameSource
from extract.decode.pyav_source import PyavSource

__all__ = ["open_video"]


def open_video(path: Place, backend: str) -> FrameSource:
    """Open a video with the wanted backend; what decord cannot be trusted with, PyAV reads.

    Raises:
        VideoError: if the file holds no video that PyAV can decode.
    """
    if backend == "decord" and isinstance(path, Path):
        from extract.decode.decord_source import trusted_decord_source

        source = trusted_decord_source(path)
        if source is not None:
            return source
    return PyavSource(path)
