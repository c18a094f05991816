"""Find the streams and committed parts of a store in a bucket."""

from collections.abc import Collection
from dataclasses import dataclass

from cache_schema import layout
from cache_schema.errors import StoreCorruptError, StoreError, StoreNotFoundError
from cache_schema.journal import Journal
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.byte_ranges import ReadAhead
from cache_schema.object_backend.cached_objects import CachedObjects
from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.object_backend.rows import CachedPartRows, ObjectPartRows
from cache_schema.records import RESTORE, damaged_line, parse_object
from cache_schema.stream import OnDamage, Stream, StreamPart, raise_damage
from cache_schema.zarr_backend.headers import StreamHeader, attributes_of, check_copy
from cache_schema.zarr_backend.reader import check_version

__all__ = [
    "check_object_store",
    "committed_journals",
    "new_journals",
    "read_object_header",
    "read_object_stream",
    "read_object_streams",
]

KEPT_BYTES = 64 * 2**10
"""A journal up to this size is kept as it came; a longer one, of many videos, is read again."""


def read_object_streams(
    bucket: Bucket, on_damage: OnDamage = raise_damage, cache: DiskCache | None = None
) -> list[Stream]:
    """Return every stream with its committed rows, sorted by name.

    Args:
        bucket: The store.
        on_damage: Called for each part with a damaged journal, which is then left out.
        cache: Where rows are kept that were read; None reads them from the bucket each time.

    Raises:
        StoreNotFoundError: if there is no store.
        StoreError: if the bucket cannot be read.
    """
    check_object_store(bucket, on_damage)
    reader = ReadAhead(bucket) if cache is None else CachedObjects(bucket, cache)
    streams = []
    for name in bucket.folders():
        try:
            header = read_object_header(bucket, name)
        except StoreCorruptError as error:
            on_damage(error)
            continue
        if header is not None:
            streams.append(read_object_stream(bucket, name, header, on_damage, reader))
    return streams


def check_object_store(bucket: Bucket, on_damage: OnDamage = raise_damage) -> None:
    """Raise unless a store of the version this code reads lies at an address.

    Args:
        bucket: Its objects.
        on_damage: Called if its ``zarr.json`` is damaged.
    """
    where = f"{bucket.address}/{layout.ZARR_JSON}"
    data = bucket.get(layout.ZARR_JSON)
    if data is None:
        raise StoreNotFoundError(
            f"{bucket.address}: no such store. Make one with vllm-extract --out {bucket.address}."
        )
    try:
        attributes = attributes_of(parse_object(data, where=where), where)
    except StoreCorruptError as error:
        on_damage(error)
        return
    if attributes.get("kind") != layout.KIND:
        raise StoreError(f"{bucket.address}: is a Zarr group but not a {layout.KIND}.")
    check_version(attributes, str(bucket.address))


def read_object_header(bucket: Bucket, stream: str) -> StreamHeader | None:
    """Return the header of a stream, compared with its copy in ``parts``; None if there is none.

    Raises:
        StoreCorruptError: if the header is damaged or gone, or says something else than the copy.
    """
    keys = [f"{stream}/{layout.ZARR_JSON}", f"{stream}/{layout.PARTS}/{layout.ZARR_JSON}"]
    data, copy = bucket.get_many(keys)
    where, copy_where = (f"{bucket.address}/{key}" for key in keys)
    if data is None:
        if bucket.folders(f"{stream}/{layout.PARTS}"):
            raise StoreCorruptError(f"{where}: is gone. {RESTORE}")
        return None
    attributes = attributes_of(parse_object(data, where=where), where)
    header = StreamHeader.from_attributes(attributes, where)
    try:
        copied = attributes_of(parse_object(copy or b"{}", where=copy_where), copy_where)
    except StoreCorruptError:
        return header  # a copy that cannot be read does not matter here
    check_copy(header, copied, where, copy_where)
    return header


def read_object_stream(
    bucket: Bucket,
    name: str,
    header: StreamHeader,
    on_damage: OnDamage = raise_damage,
    reader: ReadAhead | CachedObjects | None = None,
) -> Stream:
    """Return one stream with its committed rows."""
    reader = reader or ReadAhead(bucket)
    parts = []
    for part, data in committed_journals(bucket, name).items():
        folder = f"{name}/{layout.PARTS}/{part}"
        try:
            commits = _journal(bucket, f"{folder}/{layout.COMMITS}", data)
        except StoreCorruptError as error:
            on_damage(error)
            continue
        if not commits:
            continue  # it is being taken away, see compaction
        kind = header.row_shape, header.recipe.store_dtype
        rows: ObjectPartRows
        if isinstance(reader, CachedObjects):
            rows = CachedPartRows(reader, folder, *kind)
            rows.fetch_times(sum(commits.num_rows))
        else:
            rows = ObjectPartRows(reader, folder, *kind)
        parts.append(StreamPart(id=part, commits=commits, rows=rows))
    source = header.encoder_source
    return Stream(name, header.recipe, header.row_shape, parts, encoder_source=source, is_far=True)


def committed_journals(bucket: Bucket, stream: str) -> dict[str, bytes]:
    """Return the journal of every committed part of a stream by the part's id.

    A listing is of one instant, and the journals are fetched behind it: a part that went meanwhile
    was merged into one that is not in the listing. So whenever a journal is missed for the first
    time, it is listed and fetched again: what takes a part's place is there before the part goes.
    """
    found: dict[str, bytes] = {}
    missed: set[str] = set()
    while True:
        asked = [part for part in bucket.folders(f"{stream}/{layout.PARTS}") if part not in found]
        keys = [f"{stream}/{layout.PARTS}/{part}/{layout.COMMITS}" for part in asked]
        answers = dict(zip(asked, bucket.get_many(keys), strict=True))
        found.update({part: data for part, data in answers.items() if data is not None})
        news = {part for part, data in answers.items() if data is None} - missed
        if news and bucket.must_find_parts:
            raise StoreError(
                f"{bucket.address}: part {min(news)} of stream '{stream}' is gone since the index "
                "was made. Make it again with 'vllm-store index STORE' where it was written."
            )
        if not news:
            return found
        missed |= news


def new_journals(
    bucket: Bucket, stream: str, known: Collection[str], since_seconds: float
) -> dict[str, bytes]:
    """Return the journals of parts that are not known and were named since then, by their ids."""
    folder = f"{stream}/{layout.PARTS}"
    if since_seconds > 0:
        parts = bucket.folders_from(folder, f"{round(since_seconds * 1000):013d}")
    else:
        parts = bucket.folders(folder)
    asked = [part for part in parts if part not in known]
    journals = bucket.get_many(f"{folder}/{part}/{layout.COMMITS}" for part in asked)
    pairs = zip(asked, journals, strict=True)
    return {part: data for part, data in pairs if data is not None}


def _journal(bucket: Bucket, key: str, data: bytes) -> Journal:
    """Check a journal, every line of which must be whole: it came as one object."""
    read = _Kept(data) if len(data) <= KEPT_BYTES else _Again(bucket, key)
    journal = Journal([data], read.read, where=f"{bucket.address}/{key}")
    if journal.num_bytes != len(data):
        raise damaged_line(f"{bucket.address}/{key}", len(journal) + 1)
    return journal


@dataclass(frozen=True, slots=True)
class _Kept:
    data: bytes

    def read(self, start: int, size: int) -> bytes:
        return self.data[start : start + size]


@dataclass(frozen=True, slots=True)
class _Again:
    bucket: Bucket
    key: str

    def read(self, start: int, size: int) -> bytes:
        return self.bucket.get_range(self.key, start, start + size)
