"""Where a store lies: a path of this machine, or an address of objects elsewhere.

An address is no path: ``pathlib`` would make ``s3:/bucket`` of ``s3://bucket``.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import urlsplit

from cache_schema.errors import ConfigError

__all__ = ["Address", "Place", "absolute_place", "is_address", "recorded_place", "to_place"]

SCHEMES = ("s3", "s3+http", "s3+https", "gs", "az", "http", "https", "hf")
"""``s3+http://host:port/bucket/...`` names a server that speaks S3 and is not Amazon's; ``hf://``
a repository of a hub, which is read out of its cache on this machine (``cache_schema.hub``)."""

HAS_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""Two letters at least: ``c:`` is none."""


@dataclass(frozen=True, order=True, slots=True)
class Address:
    """A URL that objects' names begin with. By ``to_place``, which checks it."""

    url: str
    """Without a slash at its end."""
    version: str = field(default="", compare=False)
    """Of one object, the tag of the content that is meant; empty for whatever is there."""

    def __str__(self) -> str:
        return self.url

    @property
    def is_hub(self) -> bool:
        """Whether it is a repository of a hub, and not objects in a bucket."""
        return self.scheme == "hf"

    def __truediv__(self, name: str) -> "Address":
        return Address(f"{self.url}/{name}")

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """What stands behind the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on, as of a path."""
        return PurePosixPath(self.name).suffix

    def at(self, version: str) -> "Address":
        """Return the address of this version of the object."""
        return Address(self.url, version)

    def with_name(self, name: str) -> "Address":
        """Return the address beside this one that has another last name."""
        return Address(f"{self.url.rpartition('/')[0]}/{name}")


Place: TypeAlias = Path | Address


def is_address(text: str) -> bool:
    """Tell whether a text names something by a URL, be it one that can be used or not."""
    return HAS_SCHEME.match(text) is not None


def to_place(where: str | Place) -> Place:
    """Return the place that a user's text means.

    Raises:
        ConfigError: if it is a URL of another kind, or one that holds a password or a signature:
            places are written into checkpoints and logs.
    """
    if isinstance(where, Address):
        return where
    if isinstance(where, Path):
        if where.parts and where.parts[0][:-1] in SCHEMES and where.parts[0].endswith(":"):
            raise ConfigError(
                f"{where}: is an address that was made a path. Give it as text, as it was typed."
            )
        return where
    if not is_address(where):
        return Path(where)
    return _address(where)


def recorded_place(text: str, version: str = "") -> Place:
    """Return the place whose text was kept; it was checked when it was typed."""
    return Address(text, version) if is_address(text) else Path(text)


def absolute_place(where: str | Place) -> Place:
    """Return a place that means the same in other folders of this machine."""
    place = to_place(where)
    return place.resolve() if isinstance(place, Path) else place


def _address(text: str) -> Address:
    parts = urlsplit(text)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{shown}: an address holds no user, password or signature, because it is written into "
            "checkpoints and logs. Leave out what stands before '@' and behind '?', and give "
            "credentials by the environment or a profile (docs/object-stores.md)."
        )
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ConfigError(f"{shown}: unknown kind of address, expected a path or one of {known}.")
    names = [name for name in parts.path.split("/") if name]
    if parts.scheme.startswith("s3+"):
        names, is_whole = names[1:], bool(parts.netloc and names)
    else:
        is_whole = bool(parts.netloc)
    if not is_whole or not names or ".." in names:
        raise ConfigError(
            f"{shown}: expected a bucket and a name in it, such as s3://bucket/feats.zarr or "
            "s3+http://localhost:9000/bucket/feats.zarr."
        )
    path = "/".join(name for name in parts.path.split("/") if name)
    return Address(f"{parts.scheme}://{parts.netloc}/{path}")
