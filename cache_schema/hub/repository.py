"""One repository of the hub at one of its commits: what lies there, files out of it, files into it.

Everything that crosses the network is held to a checksum: what comes, here, to the one that the hub
lists for each file; what goes, by the hub to the one that its library sends along.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from cache_schema.errors import HubError
from cache_schema.hub.address import HubAddress
from cache_schema.hub.hub_errors import hub_errors

__all__ = ["HubFile", "HubRepository", "file_digest", "open_repository"]

BLOCK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """A file as the hub lists it."""

    size: int
    digest: str
    """SHA-256 (64 digits) of a large file, the SHA-1 that git gives a small one (40 digits)."""


@dataclass(frozen=True, kw_only=True)
class HubRepository:
    """What lay in a repository when it was opened."""

    address: HubAddress
    commit: str | None
    """The state that is read; None if the repository is not there."""
    files: Mapping[str, HubFile]
    """By their paths in the repository."""

    def fetch(self, path: str, folder: Path) -> Path:
        """Download one file below a folder, where it keeps its path; it is there once, or whole.

        Raises:
            HubError: if it cannot be had, or has other bytes than the hub lists.
        """
        with hub_errors(self.address):
            got = hf_hub_download(
                self.address.name,
                path,
                repo_type=self.address.kind,
                revision=self.commit,
                local_dir=folder,
            )
        file = Path(got)
        if file_digest(file, self.files[path].digest) != self.files[path].digest:
            file.unlink()
            raise HubError(
                f"{self.address}: '{path}' came with other bytes than the hub lists, and was "
                "thrown away. Run the same command again; if that does not help, the hub's copy is "
                "damaged, and has to be deleted there and pushed again."
            )
        return file

    def fetch_text(self, path: str, folder: Path) -> str | None:
        """Return a file's text, downloaded as by ``fetch``; None if there is no such file."""
        if path not in self.files:
            return None
        return self.fetch(path, folder).read_text(encoding="utf-8")

    def has(self, path: str, file: Path) -> bool:
        """Tell whether a local file, if there is one, lies in the repository under a path."""
        listed = self.files.get(path)
        if listed is None or not file.exists() or file.stat().st_size != listed.size:
            return False
        return file_digest(file, listed.digest) == listed.digest

    def make(self) -> bool:
        """Make the repository, private, unless it is there; tell whether it was made."""
        if self.commit is not None:
            return False
        with hub_errors(self.address):
            HfApi().create_repo(
                self.address.name, repo_type=self.address.kind, private=True, exist_ok=True
            )
        return True

    def upload(self, files: Iterable[CommitOperationAdd]) -> None:
        """Send the bytes of large files; nobody sees them before ``commit_files``."""
        with hub_errors(self.address):
            HfApi().preupload_lfs_files(additions=files, free_memory=False, **self._branch)

    def commit_files(
        self, files: Iterable[CommitOperationAdd | CommitOperationDelete], message: str
    ) -> str:
        """Put files in place, or take them away, all at one instant; return that state's name."""
        with hub_errors(self.address):
            done = HfApi().create_commit(operations=files, commit_message=message, **self._branch)
        return str(done.oid)

    @property
    def _branch(self) -> dict[str, Any]:
        name, kind, revision = self.address.name, self.address.kind, self.address.revision
        return {"repo_id": name, "repo_type": kind, "revision": revision}


def open_repository(address: HubAddress, *, may_be_missing: bool = False) -> HubRepository:
    """List a repository.

    Args:
        address: Where it is.
        may_be_missing: Take a repository that is not there for an empty one.

    Raises:
        HubError: if it cannot be listed.
    """
    api, kind = HfApi(), address.kind
    with hub_errors(address):
        try:
            info = api.repo_info(address.name, repo_type=kind, revision=address.revision)
        except RepositoryNotFoundError:
            if not may_be_missing:
                raise
            return HubRepository(address=address, commit=None, files={})
        listed = api.list_repo_tree(address.name, repo_type=kind, revision=info.sha, recursive=True)
        files = {one.path: _hub_file(one) for one in listed if isinstance(one, RepoFile)}
    return HubRepository(address=address, commit=info.sha, files=files)


def _hub_file(listed: RepoFile) -> HubFile:
    return HubFile(size=listed.size, digest=listed.lfs.sha256 if listed.lfs else listed.blob_id)


def file_digest(path: Path, like: str) -> str:
    """Return a file's digest, of the kind that another one is.

    Args:
        path: Of the file.
        like: A digest of 64 hex digits (SHA-256 of the bytes) or 40 (git's SHA-1).
    """
    sha = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    if len(like) != 64:
        sha.update(b"blob %d\0" % path.stat().st_size)  # as git names the content of a file
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            sha.update(block)
    return sha.hexdigest()
