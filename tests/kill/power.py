"""What a power cut leaves, at its worst: contents and names that were synced, and nothing else."""

import os
import stat
from pathlib import Path


class Disk:
    """Stands in for ``os.fsync`` and remembers what each call made durable.

    A file has the content of its last sync, a folder the names of its last sync; a name that was
    synced before its file was gives an empty file.
    """

    def __init__(self, root: Path) -> None:
        self.num_syncs = 0
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._root = root.stat().st_ino
        self._kept: dict[int, int] = {}
        """An open descriptor each, so that no number is given to another file."""

    def fsync(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self.num_syncs += 1
        path = f"/proc/self/fd/{descriptor}"
        if found.st_ino not in self._kept:
            # Opened anew: a duplicate would share the lock of the original.
            self._kept[found.st_ino] = os.open(path, os.O_RDONLY)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(path) as entries:
                self._names[found.st_ino] = {
                    entry.name: entry.inode() if not entry.is_dir() else -entry.inode()
                    for entry in entries
                }
        else:
            self._contents[found.st_ino] = Path(path).read_bytes()

    def restore(self, target: Path) -> None:
        """Write what is left to an empty folder."""
        self._restore(self._root, target)

    def _restore(self, inode: int, target: Path) -> None:
        target.mkdir()
        for name, child in self._names.get(inode, {}).items():
            if child < 0:
                self._restore(-child, target / name)
            else:
                (target / name).write_bytes(self._contents.get(child, b""))

    def close(self) -> None:
        for descriptor in self._kept.values():
            os.close(descriptor)
