"""From what the user typed to a list of video files, each with the id it will have in the store.

Accepts files, folders (searched recursively), glob patterns, addresses of objects or of what their
names begin with, and list files (``.txt``, one path or address a line, paths relative to the list's
folder). An id is the path below the searched root without suffix; two files that would share one
keep their suffix in it.
"""

import errno
import glob
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cache_schema.errors import PassingVideoError, SourceError, StoreError, VideoError
from cache_schema.object_backend.object_file import ObjectFile
from cache_schema.place import Address, Place, to_place
from cache_schema.video_names import VIDEO_SUFFIXES
from extract.sources.remote import Found, listed_objects, named_objects

__all__ = ["FileState", "VideoFile", "content_digest", "file_state", "find_videos"]

DIGEST_BLOCKS = 16
DIGEST_BLOCK_BYTES = 2**18

NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What a file system says of a broken link, whenever it is asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFile:
    """One file to extract."""

    id: str
    path: Place
    size_bytes: int
    """0 also where nothing is, such as behind a broken link."""


class FileState(NamedTuple):
    """What a file system says of a file: as a rule another one where its content is another."""

    size_bytes: int
    mtime_ns: int
    inode: int


def file_state(path: Place) -> FileState | None:
    """Return the state of a file; None if it is not there, or is an object.

    An object needs none: its address names its version, and another one is not read.
    """
    if isinstance(path, Address):
        return None
    try:
        facts = path.stat()
    except OSError:
        return None
    return FileState(facts.st_size, facts.st_mtime_ns, facts.st_ino)


def find_videos(inputs: str | Path | Iterable[str | Path]) -> list[VideoFile]:
    """Return the videos that the inputs name, sorted by id, each file once.

    Args:
        inputs: One or several, as the head of this file says.

    Raises:
        SourceError: if an input does not exist or names no video, if two files claim one id, or if
            the size of one cannot be found out.
        StoreError: if a bucket cannot be read.
    """
    found: dict[str, Found] = {}  # by real path or address
    for text in map(str, [inputs] if isinstance(inputs, str | Path) else inputs):
        here = list(_expand(text))
        if not here:
            kinds = ", ".join(sorted(VIDEO_SUFFIXES))
            raise SourceError(f"{text}: no video there. Looked for files ending in {kinds}.")
        for one in here:
            same = os.path.realpath(one.path) if isinstance(one.path, Path) else str(one.path)
            found.setdefault(same, one)
    return sorted(_with_ids(list(found.values())), key=lambda video: video.id)


def content_digest(path: Place) -> str:
    """Return a digest of a file's size and of 16 blocks of 256 KiB spread evenly over it.

    Reading terabytes twice is no option, and two different videos that agree in size and in
    4 MiB of compressed data do not occur; files up to 4 MiB are read whole.

    Raises:
        PassingVideoError: if it is not there or cannot be read; the next run may have more luck.
        VideoError: if it is no regular file.
    """
    try:
        if isinstance(path, Address):
            with ObjectFile(path) as remote:
                size = remote.seek(0, os.SEEK_END)
                return _digest(size, remote.read_spans(_digest_spans(size)))
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
            raise VideoError("is no regular file. Move it out of the folder.")
        with path.open("rb") as file:
            return _digest(facts.st_size, _read_spans(file, _digest_spans(facts.st_size)))
    except StoreError as error:
        raise PassingVideoError(f"cannot be read: {error}") from error
    except OSError as error:
        raise PassingVideoError(f"cannot be read: {error.strerror}.") from error


def _digest_spans(size: int) -> list[tuple[int, int]]:
    """Return first byte, and the one behind the last, of each block that a digest is made of."""
    starts = list(range(0, size, DIGEST_BLOCK_BYTES))
    if len(starts) > DIGEST_BLOCKS:
        last = size - DIGEST_BLOCK_BYTES
        starts = [last * block // (DIGEST_BLOCKS - 1) for block in range(DIGEST_BLOCKS)]
    return [(start, min(start + DIGEST_BLOCK_BYTES, size)) for start in starts]


def _read_spans(file: BinaryIO, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    for start, end in spans:
        file.seek(start)
        yield file.read(end - start)


def _digest(size: int, blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    for block in blocks:
        digest.update(block)
    return f"sha256-16x256k:{digest.hexdigest()}"


def _expand(text: str) -> Iterator[Found]:
    """Yield the videos of one input."""
    place = to_place(text)
    if isinstance(place, Address):
        yield from named_objects(place, VIDEO_SUFFIXES, is_folder=text.endswith("/"))
    else:
        yield from _expand_path(place, text)


def _expand_path(path: Path, text: str) -> Iterator[Found]:
    if path.is_dir():
        yield from (_below(path, file) for file in _walk(path))
    elif path.suffix.lower() == ".txt" and path.is_file():
        yield from _read_list(path)
    elif path.is_file():
        yield _below(path.parent, path)
    elif glob.has_magic(text):
        yield from _match(text)
    else:
        raise SourceError(f"{text}: no such file or folder. Check the path.")


def _below(root: Path, file: Path) -> Found:
    return Found(file, file.relative_to(root).as_posix(), _size(file))


def _match(pattern: str) -> Iterator[Found]:
    """Yield the files a glob pattern matches; ids are relative to its part before any wildcard."""
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    for path in sorted(root.glob(str(Path(*parts[fixed:])))):
        if not path.is_dir():
            # Behind a wildcard, '..' would lead ids astray.
            yield _below(path.parent if ".." in path.relative_to(root).parts else root, path)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield video files below a folder, following links to folders once each.

    Broken links among them are yielded too: they become failures, not silence.
    """
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()  # a link back into a folder we already visited
            continue
        seen.add(real)
        folders.sort()
        paths = (Path(root, name) for name in sorted(files))
        yield from (path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES)


def _refuse_folder(error: OSError) -> None:
    raise SourceError(
        f"{error.filename}: this folder cannot be read: {error.strerror}. "
        "Make it readable, or name the other folders one by one."
    ) from error


def _read_list(path: Path) -> Iterator[Found]:
    # Names that are no text come through, to be named as failures like those of a folder.
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    addresses = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if isinstance(place := to_place(line.strip()), Address):
            addresses.append(place)
            continue
        if not (path.parent / line.strip()).is_file():
            raise SourceError(f"{path}: line {number} names '{line.strip()}', which is no file.")
        yield _listed(path.parent, Path(line.strip()))
    yield from listed_objects(addresses)


def _listed(folder: Path, entry: Path) -> Found:
    """Return a file of a list; its id is the same however the list's own path was typed.

    Args:
        folder: Of the list.
        entry: As the list has it.
    """
    # Without '..' and with links, as people write absolute paths.
    root = Path(os.path.abspath(folder)) if entry.is_absolute() else folder  # noqa: PTH100
    file = folder / entry
    is_inside = ".." not in entry.parts and file.is_relative_to(root)
    return _below(root if is_inside else file.parent, file)


def _with_ids(found: Sequence[Found]) -> Iterator[VideoFile]:
    plain = [_without_suffix(one.name) for one in found]
    count = Counter(plain)
    ids = [one.name if count[name] > 1 else name for name, one in zip(plain, found, strict=True)]
    clashes = [name for name, times in Counter(ids).items() if times > 1]
    if clashes:
        paths = [str(one.path) for name, one in zip(ids, found, strict=True) if name == clashes[0]]
        raise SourceError(
            f"two videos would have the id '{clashes[0]}': {' and '.join(paths)}. "
            "Name their common parent folder instead, so that ids keep the folders apart."
        )
    for name, one in zip(ids, found, strict=True):
        yield VideoFile(id=name, path=one.path, size_bytes=one.size_bytes)


def _without_suffix(name: str) -> str:
    """Return a relative path without suffix, unless '.' or '..' is left: ids may become paths."""
    stem = name[: len(name) - len(Path(name).suffix)]
    return name if stem.rpartition("/")[2] in (".", "..") else stem


def _size(path: Path) -> int:
    """Return a file's size; 0 if it is not there.

    Raises:
        SourceError: if it cannot be found out now. The tasks of a job array must agree on it.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        if error.errno in NOT_THERE:
            return 0
        raise SourceError(
            f"{path}: its size cannot be found out: {error.strerror}. Check the file system and "
            "the rights on its folder, and run the same command again."
        ) from error
