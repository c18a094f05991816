"""What a web server has of a store: it lists nothing, so an index beside the streams does."""

import json
from functools import cached_property

from cache_schema import layout
from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.object_backend.bucket import Bucket, StoredObject
from cache_schema.place import Address
from cache_schema.records import parse_object

__all__ = ["IndexedFiles", "files_at", "index_text"]


def files_at(address: Address) -> Bucket:
    """Return the objects at an address, however it is found out which there are."""
    is_web = address.scheme in ("http", "https")
    return IndexedFiles(address) if is_web else Bucket(address)


def index_text(parts: dict[str, list[str]]) -> bytes:
    """Return the index of a store: the ids of the committed parts of each stream."""
    return json.dumps({"streams": parts}, indent=1).encode()


class IndexedFiles(Bucket):
    """Files of a web server; those that the index names were committed when it was made."""

    must_find_parts = True

    def folders(self, prefix: str = "") -> list[str]:
        """Return the streams, or the parts of one, that the index names.

        Raises:
            StoreError: if there is no index.
        """
        if not prefix:
            return sorted(self._streams)
        return sorted(self._streams.get(prefix.partition("/")[0], []))

    @cached_property
    def _streams(self) -> dict[str, list[str]]:
        """The index, which is fetched once for all streams."""
        where = f"{self.address}/{layout.INDEX}"
        data = self.get(layout.INDEX)
        if data is None:
            raise StoreError(
                f"{where}: is not there, and a web server lists nothing. Make it with 'vllm-store "
                "index STORE' where the store was written, or give the address of its bucket."
            )
        streams = parse_object(data, where=where).get("streams")
        if not isinstance(streams, dict) or not all(map(_are_names, streams.values())):
            raise StoreCorruptError(f"{where}: is no index. Make it again with vllm-store index.")
        return streams

    def objects(self, prefix: str = "") -> dict[str, StoredObject]:
        """Raise, because a web server lists nothing.

        Raises:
            StoreError: always.
        """
        raise StoreError(
            f"{self.address}: a web server lists no files. Copy the store with vllm-store export, "
            "or give the address of its bucket."
        )


def _are_names(parts: object) -> bool:
    return isinstance(parts, list) and all(isinstance(part, str) for part in parts)
