"""The objects of one store: fetched, listed and put, many requests at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import IO, TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.object_backend.bucket_errors import (
    bucket_errors,
    despite_cuts,
    is_no_bucket,
    object_gone,
)
from cache_schema.object_backend.forked import check_not_forked
from cache_schema.object_backend.needed_package import needed_package
from cache_schema.object_backend.open_bucket import (
    REQUEST_SECONDS,
    RETRY_SECONDS,
    open_bucket,
    wait_for_server,
)
from cache_schema.place import Address

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["IN_FLIGHT", "Bucket", "NoRangesError", "StoredObject", "requests"]

T = TypeVar("T")

IN_FLIGHT = 64
"""Requests at a time, over all stores of a process. A request waits 20 ms for its first byte."""
PIECE_BYTES = 8 * 2**20
"""A larger object is sent in pieces of this size, four at a time."""


class NoRangesError(StoreError):
    """A server knows no ranges."""


class StoredObject(NamedTuple):
    """What a listing says of an object."""

    num_bytes: int
    modified_seconds: float
    """Since 1970, by the server's clock."""
    version: str
    """Its tag, which differs whenever the content does; when it was changed if there is none."""


def requests() -> ThreadPoolExecutor:
    """Return the threads that wait for answers. Nothing that runs in one may wait for another."""
    check_not_forked()
    return _threads()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="objects")


class Bucket:
    """Objects whose names begin with an address. Picklable; a copy opens its own client.

    Names ("keys") are those behind the address and its slash.
    """

    must_find_parts: ClassVar[bool] = False
    """Whether a part that is listed was committed: then one without a journal is an error."""

    def __init__(self, address: Address, *, retry_seconds: float = RETRY_SECONDS) -> None:
        needed_package("obstore", address)
        self.address = address
        self._retry_seconds = retry_seconds
        self._client: ObjectStore | None = None
        self._versions: dict[str, str] = {}
        """Of each object of which a range was read."""

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_client": None, "_versions": {}}

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes; None if there is none.

        Raises:
            StoreError: if it cannot be read.
        """
        import obstore

        return self._if_there(
            key, lambda: despite_cuts(lambda: bytes(obstore.get(self._open(), key).bytes()))
        )

    def get_many(self, keys: Iterable[str]) -> Iterator[bytes | None]:
        """Yield what ``get`` does for each key, in their order."""
        self._open_for_threads()
        return requests().map(self.get, keys)

    def facts(self, key: str) -> "StoredObject | None":
        """Return what is known of an object without reading it; None if there is none.

        Raises:
            StoreError: if it cannot be asked.
        """
        import obstore

        return self._if_there(key, lambda: _stored(obstore.head(self._open(), key)))

    def pin(self, key: str, version: str) -> None:
        """From now on take any other version of an object for an error."""
        self._versions[key] = version

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes of an object from ``start`` to before ``end``, as far as there are any.

        Raises:
            NoRangesError: if the server sends whole objects only.
            StoreError: if it cannot be read, is not there, or is not the one it was before.
        """
        import obstore

        where = f"{self.address}/{key}"
        options: GetOptions = {"range": (start, end)}
        version = self._versions.get(key, "")
        if version.startswith('"'):  # a weak tag matches nothing
            options["if_match"] = version
        with bucket_errors(where, doing="read"):
            try:
                data, version = despite_cuts(lambda: self._range(key, options))
                if self._versions.setdefault(key, version) != version:
                    raise _changed(where)
                return data
            except obstore.exceptions.NotSupportedError:
                raise NoRangesError(f"{where}: its server sends no ranges of files.") from None
            except obstore.exceptions.PreconditionError:
                raise _changed(where) from None
            except FileNotFoundError:
                raise object_gone(where) from None
            except obstore.exceptions.GenericError as error:
                if "416 Range" in str(error):
                    return b""
                raise

    def _range(self, key: str, options: "GetOptions") -> tuple[bytes, str]:
        import obstore

        found = obstore.get(self._open(), key, options=options)
        return bytes(found.bytes()), _stored(found.meta).version

    def copy_to(self, key: str, file: IO[bytes]) -> None:
        """Write all bytes of an object to a file, a few at a time.

        Raises:
            StoreError: if it cannot be read, or is not there.
        """
        import obstore

        with bucket_errors(f"{self.address}/{key}", doing="read"):
            for block in obstore.get(self._open(), key).stream(min_chunk_size=PIECE_BYTES):
                file.write(block)

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names, sorted, that stand between ``prefix/`` and the next slash of keys."""
        import obstore

        with bucket_errors(f"{self.address}/{prefix}", doing="listed"):
            found = despite_cuts(lambda: obstore.list_with_delimiter(self._open(), prefix or None))
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])

    def folders_from(self, prefix: str, first: str) -> list[str]:
        """Return the names ``folders`` does that sort behind or at ``first``.

        For the end of a long list: every object below them is listed.
        """
        with bucket_errors(f"{self.address}/{prefix}", doing="listed"):
            found = despite_cuts(lambda: self._list(prefix, after=f"{prefix}/{first}"))
            keys = [one["path"].removeprefix(f"{prefix}/") for one in found]
        return sorted({key.partition("/")[0] for key in keys if "/" in key})

    def objects(self, prefix: str = "") -> dict[str, "StoredObject"]:
        """Return all objects below ``prefix/`` by their key."""
        with bucket_errors(f"{self.address}/{prefix}", doing="listed"):
            return {one["path"]: _stored(one) for one in despite_cuts(lambda: self._list(prefix))}

    def _list(self, prefix: str, after: str | None = None) -> "list[ObjectMeta]":
        import obstore

        pages = obstore.list(self._open(), prefix or None, offset=after)
        return [one for page in pages for one in page]

    def put(self, key: str, data: bytes | IO[bytes]) -> None:
        """Make or replace an object: it is there as a whole or not at all.

        Raises:
            StoreError: if it cannot be written.
        """
        with bucket_errors(f"{self.address}/{key}", doing="written"):
            despite_cuts(lambda: self._put(key, data))

    def _put(self, key: str, data: bytes | IO[bytes]) -> None:
        import obstore

        if not isinstance(data, bytes):
            data.seek(0)
        obstore.put(self._open(), key, data, chunk_size=PIECE_BYTES, max_concurrency=4)

    def put_new(self, key: str, data: bytes) -> bool:
        """Make an object only if there is none of this name; False if there is another.

        One that is there with these very bytes is ours: the answer to a first try was lost.

        Raises:
            StoreError: if it cannot be written.
        """
        import obstore

        with bucket_errors(f"{self.address}/{key}", doing="written"):
            try:
                despite_cuts(lambda: self._create(key, data))
            except obstore.exceptions.AlreadyExistsError:
                return self.get(key) == data
        return True

    def _create(self, key: str, data: bytes) -> None:
        import obstore

        obstore.put(self._open(), key, data, mode="create", use_multipart=False)

    def remove(self, keys: Sequence[str]) -> None:
        """Take objects away, in any order; those that are not there are passed over.

        Raises:
            StoreError: if one cannot be removed.
        """
        import obstore

        try:
            with bucket_errors(str(self.address), doing="removed"):
                despite_cuts(lambda: obstore.delete(self._open(), list(keys)))
        except FileNotFoundError:  # which ends it at Google's and Azure's
            for gone in [requests().submit(self._remove, key) for key in keys]:
                gone.result()

    def _remove(self, key: str) -> None:
        import obstore

        self._if_there(
            key, lambda: despite_cuts(lambda: obstore.delete(self._open(), key)), doing="removed"
        )

    def _if_there(self, key: str, call: Callable[[], T], *, doing: str = "read") -> T | None:
        """Return what a call for an object brings; None if there is none, but there is a bucket."""
        with bucket_errors(f"{self.address}/{key}", doing=doing):
            try:
                return call()
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return None

    def fetch(self, key: str, spans: Sequence[tuple[int, int]]) -> list[Future[bytes]]:
        """See ``ByteRanges``."""
        self._open_for_threads()
        return [requests().submit(self.get_range, key, start, end) for start, end in spans]

    def _open_for_threads(self) -> None:
        """Open the client, or each thread would open one of its own."""
        with bucket_errors(str(self.address), doing="read"):
            self._open()

    def _open(self) -> "ObjectStore":
        check_not_forked()
        if self._client is None:
            request_seconds = min(REQUEST_SECONDS, self._retry_seconds)
            wait_for_server(self.address, request_seconds)
            self._client = open_bucket(self.address, self._retry_seconds, request_seconds)
        return self._client


def _changed(where: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"{where}: was replaced while it was read, and objects of a store never change. Open the "
        "store again and run vllm-store verify."
    )


def _stored(meta: "ObjectMeta") -> StoredObject:
    modified = meta["last_modified"].timestamp()
    tag = meta["e_tag"]
    if tag and not tag.endswith('"'):  # Azure's listings leave out the marks of its other answers
        tag = f'"{tag}"'
    return StoredObject(meta["size"], modified, tag or f"of {modified:.0f}")
