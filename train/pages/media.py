"""The video of a page: inside it, beside it, or as pictures that the page carries."""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from cache_schema.errors import PipelineError
from cache_schema.place import Place
from cache_schema.stream import Stream
from cache_schema.video_path import found_video
from extract import pictures_at, plays_in_browsers
from train.pages.view import VideoView

__all__ = ["Media", "MediaShelf"]

EMBEDDED_BYTES = 2**21
"""Of a file that the page carries whole."""
CARRIED_BYTES = 32 * 2**20
"""Of all that one page carries; what comes later is linked only."""
PICTURES = 12
"""Of a video that the page does not carry."""
PICTURE_HEIGHT = 180
TYPES = {".webm": "video/webm"}
"""Suffix -> media type; all others that browsers play are of MP4's family."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """What a page has of a video; see ``player.js``."""

    name: str = ""
    type: str = "video/mp4"
    href: str = ""
    """Address relative to the page."""
    embedded: str = ""
    """The file, in base64."""
    pictures: Sequence[str] = ()
    """JPEG, in base64."""
    picture_times: Sequence[float] = ()
    """Seconds of the video."""
    note: str = ""

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(asdict(self))


class MediaShelf:
    """Takes videos into a page while there is room for them."""

    def __init__(self, page: Path) -> None:
        """Start with an empty shelf.

        Args:
            page: Where the page will lie: links are relative to it.
        """
        self._folder = page.resolve().parent
        self._room = CARRIED_BYTES

    def media(self, path: Path | None, duration: float) -> Media:
        """Return what the page has of a video.

        A small file that browsers play lies in the page; another one is linked, and pictures of it
        lie in the page: they are seen where the link leads nowhere or the format is unknown.

        Args:
            path: The file; None if nobody knows where it is.
            duration: Seconds of it.
        """
        if path is None:
            return Media(note="The video file was not found: time passes without a picture.")
        try:
            return self._media(path, duration)
        except (PipelineError, OSError) as error:
            return Media(name=path.name, note=f"The video file cannot be read: {error}")

    def media_of(self, view: VideoView, stream: Stream, store: Place | None) -> Media:
        """Return what the page has of the video of a view.

        Args:
            view: Names the video as annotations do.
            stream: Knows where it lay.
            store: Of the stream; None if it goes away.
        """
        name = stream.resolve(view.video)
        path = found_video(stream.commit(name).video, store) if name is not None else None
        return self.media(path, view.duration)

    def _media(self, path: Path, duration: float) -> Media:
        media_type = TYPES.get(path.suffix.lower(), "video/mp4")
        plays = plays_in_browsers(path)
        size = path.stat().st_size
        if plays and size <= min(EMBEDDED_BYTES, self._room):
            self._room -= size
            data = base64.b64encode(path.read_bytes()).decode()
            return Media(name=path.name, type=media_type, embedded=data)
        times, pictures = self._pictures(path, duration)
        carried = "The page carries pictures of it." if pictures else ""
        return Media(
            name=path.name,
            type=media_type,
            href=quote(os.path.relpath(path.resolve(), self._folder)) if plays else "",
            pictures=pictures,
            picture_times=times,
            note="" if plays else f"Browsers do not play {path.name}. {carried}",
        )

    def _pictures(self, path: Path, duration: float) -> tuple[list[float], list[str]]:
        if self._room <= 0:
            return [], []
        times = [duration * (place + 0.5) / PICTURES for place in range(PICTURES)]
        pictures = pictures_at(path, times, height=PICTURE_HEIGHT)
        self._room -= sum(map(len, pictures))
        return times, [base64.b64encode(one).decode() for one in pictures]
