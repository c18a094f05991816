"""A repository of the hub as a folder in the hub's own cache, where nothing is downloaded twice.

That cache (``HF_HUB_CACHE``) is the one LLMs and encoders come from: one folder for each state of a
repository, with links to files that states share. Its library holds a download to the size that the
hub lists; here every file is held to its checksum, too, once.
"""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from huggingface_hub import snapshot_download

from cache_schema.errors import HubError
from cache_schema.hub.address import HubAddress
from cache_schema.hub.hub_errors import hub_errors
from cache_schema.hub.repository import file_digest
from cache_schema.progress_bars import no_progress_bars
from cache_schema.shared_lines import append_lines, read_lines
from cache_schema.user_cache import user_cache_folder

__all__ = ["hub_snapshot"]


def hub_snapshot(address: HubAddress) -> Path:
    """Return the folder of a repository, after downloading what of it is not there yet.

    Where the hub cannot be reached, the state that came last will do.

    Raises:
        HubError: if it cannot be had, or a file has other bytes than the hub lists.
    """
    quiet = nullcontext() if sys.stderr.isatty() else no_progress_bars()
    with hub_errors(address), quiet:
        folder = Path(
            snapshot_download(address.name, repo_type=address.kind, revision=address.revision)
        )
    _check(address, folder)
    return folder


def _check(address: HubAddress, folder: Path) -> None:
    """Compare the files that were never compared with the digests they are cached by."""
    noted = user_cache_folder() / "hub" / f"{address.kind}s--{address.name.replace('/', '--')}"
    noted.parent.mkdir(parents=True, exist_ok=True)
    known = set(read_lines(noted))
    for file, digest in _linked_files(folder):
        if digest.encode() in known:
            continue
        if file_digest(file, digest) != digest:
            for path in (file.resolve(), file.parent / file.readlink(), file):
                path.unlink(missing_ok=True)
            raise HubError(
                f"{address}: '{file.relative_to(folder)}' came with other bytes than the hub "
                "lists, and was thrown away. Run the same command again; if that does not help, "
                "the hub's copy is damaged."
            )
        append_lines(noted, [digest])


def _linked_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a cached state, each with the digest that its content is named by."""
    for file in sorted(folder.rglob("*")):
        if file.is_symlink():
            yield file, file.readlink().name
