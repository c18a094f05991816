"""Files and folders that are whole or absent, whatever instant the process or machine stops."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "make_folders",
    "new_file",
    "partials",
    "replaced_file",
    "replaced_folder",
    "sync_path",
    "true_path",
]

NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK)
"""What a file system says that has no hard links."""


def true_path(path: Path) -> Path:
    """Return what a symbolic link leads to, be it there yet or not; any other path as it is.

    What takes the place of a path takes that of a link, and not of what lies behind it.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there takes its place at the end.

    The content is on disk before the name is. If the block fails, nothing of it stays.
    """
    with _file_beside(path) as temporary:
        yield temporary
        sync_path(temporary)
        temporary.replace(path)
    sync_path(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Do as ``replaced_file``, but never take the place of a file that is there at the end.

    On a file system without hard links (FAT, some of FUSE) the later of two writers wins after all.

    Raises:
        FileExistsError: if another writer was faster.
    """
    with _file_beside(path) as temporary:
        yield temporary
        sync_path(temporary)
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            temporary.replace(path)
    sync_path(path.parent)


@contextmanager
def _file_beside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; no file is there afterwards."""
    temporary = _temporary(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path``, which becomes ``path`` at the end, as ``replaced_file``.

    Raises:
        OSError: if ``path`` is there by then and is not an empty folder.
    """
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        sync_path(temporary)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_path(path.parent)


def _temporary(path: Path) -> Path:
    # The suffix stays last: some libraries tell a format by it.
    return path.with_name(f"{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")


def partials(path: Path) -> list[Path]:
    """Return what killed processes left beside ``path`` of a file or folder to take its place."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    pattern = re.compile(rf"{stem}(\.[0-9a-f]{{8}}\.partial)+{suffix}")
    return [other for other in path.parent.iterdir() if pattern.fullmatch(other.name)]


def make_folders(path: Path) -> None:
    """Make a folder and those above it, and wait until the names of the new ones are on disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_path(folder.parent)


def sync_path(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
