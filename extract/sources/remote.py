"""Videos that are objects: those below an address, or one."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from cache_schema.errors import SourceError
from cache_schema.object_backend.bucket import Bucket, StoredObject, requests
from cache_schema.object_backend.object_file import key_of, object_facts
from cache_schema.place import Address, Place

__all__ = ["Found", "listed_objects", "named_objects"]


class Found(NamedTuple):
    """A video, and what its id is made of."""

    path: Place
    name: str
    """Below what was named, with ``/`` and suffix."""
    size_bytes: int


def named_objects(
    address: Address, suffixes: Collection[str], *, is_folder: bool = False
) -> Iterator[Found]:
    """Yield the object of this address, or all videos below it.

    Args:
        address: Of either.
        suffixes: What names of videos below it end in.
        is_folder: Whether the address was typed with a slash at its end. Then what lies below it
            is meant, whatever has its own name; as it is if that is an empty object, which some
            tools make to mark a folder.

    Raises:
        SourceError: if a web server, which lists nothing, has no such file.
        StoreError: if the bucket cannot be read.
    """
    is_listed = address.scheme not in ("http", "https")
    facts = None if is_folder and is_listed else object_facts(address)
    if facts is None and not is_listed:
        raise SourceError(f"{address}: no such file. Check the address.")
    is_whole = facts is not None and (facts.num_bytes > 0 or not is_listed)
    below = [] if is_whole else list(_below(address, suffixes))
    if facts is not None and not below:
        yield Found(address.at(facts.version), key_of(address), facts.num_bytes)
    yield from below


def _below(address: Address, suffixes: Collection[str]) -> Iterator[Found]:
    bucket = Bucket(address)
    for key, one in sorted(bucket.objects().items()):
        if f".{key.rpartition('.')[2].lower()}" in suffixes and _is_object(bucket, key, one):
            yield Found((address / key).at(one.version), key, one.num_bytes)


def _is_object(bucket: Bucket, key: str, found: StoredObject) -> bool:
    """Tell an empty object, such as of an upload that failed, from the mark of a folder.

    Listings name both without the slash that a mark ends in, and under which it is no object.
    """
    return found.num_bytes > 0 or bucket.facts(key) is not None


def listed_objects(addresses: Sequence[Address]) -> Iterator[Found]:
    """Yield the objects of these addresses; one that is not there has no bytes.

    Whoever opens it will be told so.

    Raises:
        StoreError: if one cannot be asked for. Without its size the tasks of a job array would
            split the videos each in its own way, and some would be in nobody's share.
    """
    yield from requests().map(_listed, addresses)


def _listed(address: Address) -> Found:
    facts = object_facts(address)
    if facts is None:
        return Found(address, key_of(address), 0)
    return Found(address.at(facts.version), key_of(address), facts.num_bytes)
