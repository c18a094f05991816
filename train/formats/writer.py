"""Where answers go: one stream of text for all videos, or a folder with one file for each."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cache_schema.errors import ConfigError
from cache_schema.writing.durable import make_folders, replaced_file
from train.answer import Answer

__all__ = ["AnswerWriter", "FolderWriter", "StreamWriter", "Writer", "to_standard_output"]

STANDARD_OUTPUT = Path("-")


class Writer:
    """Something open that is written video by video; to be closed, or used in a ``with`` block."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def close(self) -> None:
        """Finish what was written; without this nothing that is one file is there."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)


class AnswerWriter(Writer, ABC):
    """Write answers one by one, in any order; only the one at hand is held."""

    @abstractmethod
    def write(self, answer: Answer) -> None:
        """Write what is said about one video."""


class StreamWriter(AnswerWriter):
    """A format that is one text: a file that is whole or absent, or standard output."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self._put = self._open.enter_context(_text_output(out))


class FolderWriter(AnswerWriter):
    """A format with one file per video, each whole or absent; ``/`` in an id makes folders."""

    suffix: ClassVar[str]
    """Of the files, with its dot."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        if out == STANDARD_OUTPUT or (out.exists() and not out.is_dir()):
            raise ConfigError(
                f"--out {out}: {self.suffix} files are one per video and need a folder. "
                "Name one, or use --format jsonl."
            )
        self._folder = out
        make_folders(out)

    def write(self, answer: Answer) -> None:
        """Write the file of one video.

        Raises:
            ConfigError: if its id would lead out of the folder.
        """
        path = self._path(answer.video)
        make_folders(path.parent)
        with replaced_file(path) as temporary:
            self.write_file(answer, temporary)

    @abstractmethod
    def write_file(self, answer: Answer, path: Path) -> None:
        """Write what is said about one video to a path that is not there yet."""

    def _path(self, video_id: str) -> Path:
        path = self._folder / f"{video_id}{self.suffix}"
        parts_are_names = not {"", ".", ".."} & set(video_id.split("/")) and "\0" not in video_id
        # A link in the folder may lead out of it, too.
        if parts_are_names and path.resolve().is_relative_to(self._folder.resolve()):
            return path
        raise ConfigError(
            f"--out {self._folder}: video id {video_id!r} is no path inside this folder. "
            "Use --format jsonl or csv, which make no file of it."
        )


@contextmanager
def _text_output(out: Path) -> Iterator[Callable[[str], object]]:
    """Give what writes text to a file that appears at the end, or to standard output at once."""
    if out == STANDARD_OUTPUT:
        yield to_standard_output
        return
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder, expected a file. Name a file in it.")
    make_folders(out.parent)
    with (
        replaced_file(out) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file.write


def to_standard_output(text: str) -> None:
    """Write text as UTF-8, at once."""
    # Bytes: what a terminal's encoding lacks must not become another character.
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()
