"""Addresses of a hub's repositories, as the hub's own tools write them.

    hf://datasets/USER/NAME[@REVISION]    a feature store
    hf://USER/NAME[@REVISION]             a trained run

Nothing of the hub's library is imported before there is an address.
"""

from dataclasses import dataclass
from typing import Literal

from cache_schema.errors import ConfigError
from cache_schema.place import Address

__all__ = ["NEW_REPOSITORY", "HubAddress", "hub_address"]

Kind = Literal["dataset", "model"]

NEW_REPOSITORY = (
    "The repository is new and private. Fill in the licences in its card (README.md), then make it "
    "public in its settings if it may be."
)
"""What is said to whoever has made one."""

EXPECTED = {"dataset": "hf://datasets/USER/NAME", "model": "hf://USER/NAME"}


@dataclass(frozen=True, kw_only=True, slots=True)
class HubAddress:
    """A repository, and which state of it."""

    kind: Kind
    """``dataset`` holds a store, ``model`` a run."""
    name: str
    """``user/name``."""
    revision: str | None = None
    """A branch, a tag or a commit; None is the newest state."""

    def __str__(self) -> str:
        prefix = "datasets/" if self.kind == "dataset" else ""
        return f"hf://{prefix}{self.name}{f'@{self.revision}' if self.revision else ''}"


def hub_address(place: Address, kind: Kind) -> HubAddress:
    """Return what an address of the hub says.

    Args:
        place: See the head of this file.
        kind: What is expected there.

    Raises:
        ConfigError: if it is no such address.
    """
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        uri = parse_hf_uri(place.url)
    except HfUriError as error:
        reason = error.msg.strip().rstrip(".")
        raise ConfigError(
            f"{place}: is no address of the hub ({reason}). {_expected(kind)}"
        ) from error
    if uri.type != kind or uri.path_in_repo:
        got = f"the path {uri.path_in_repo} in it" if uri.path_in_repo else f"a {uri.type}"
        raise ConfigError(f"{place}: names {got}. {_expected(kind)}")
    return HubAddress(kind=kind, name=uri.id, revision=uri.revision)


def _expected(kind: Kind) -> str:
    what = "A store" if kind == "dataset" else "A run"
    return f"{what} is {EXPECTED[kind]}, with @REVISION behind it if not the newest is meant."
