"""The ``zarr.json`` files of a store: what each says, how it is read and how it gets its place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.parsing import to_mapping
from cache_schema.recipe import Recipe, read_recipe
from cache_schema.records import RESTORE, json_object
from cache_schema.stream import Stream, as_source
from cache_schema.writing.durable import replaced_file

__all__ = [
    "StreamHeader",
    "attributes_of",
    "check_copy",
    "group",
    "part_attributes",
    "read_attributes",
    "read_stream_header",
    "root_attributes",
    "to_text",
    "write_document",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamHeader:
    """What all rows of a stream have in common."""

    recipe: Recipe
    row_shape: tuple[int, ...]
    encoder_source: str = field(default="", compare=False)
    """By which name the encoder was loaded; says nothing about the rows, so no header differs by
    it."""

    def attributes(self) -> dict[str, object]:
        """Return the attributes of the stream's group, and of its copy in a sealed part."""
        source = {layout.ENCODER_SOURCE: self.encoder_source} if self.encoder_source else {}
        return {**self.parts_attributes(), **source}

    def parts_attributes(self) -> dict[str, object]:
        """Return the attributes of the group ``parts``.

        Readers older than the encoder's source refuse any others than these.
        """
        return {
            "recipe": to_mapping(self.recipe),
            "fingerprint": self.recipe.fingerprint,
            "row_shape": list(self.row_shape),
        }

    @classmethod
    def of(cls, stream: Stream) -> "StreamHeader":
        """Return the header of an open stream."""
        return cls(
            recipe=stream.recipe, row_shape=stream.row_shape, encoder_source=stream.encoder_source
        )

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, object], where: str) -> "StreamHeader":
        """Read attributes; the fingerprint proves the recipe.

        Raises:
            StoreCorruptError: if they are not those of a stream.
        """
        text, fingerprint = json.dumps(attributes.get("recipe")), attributes.get("fingerprint")
        recipe = read_recipe(text, fingerprint, where=where, hint=RESTORE)
        row_shape = _row_shape(attributes.get("row_shape"), where)
        source = as_source(attributes.get(layout.ENCODER_SOURCE))
        return cls(recipe=recipe, row_shape=row_shape, encoder_source=source)


def _row_shape(stored: object, where: str) -> tuple[int, ...]:
    """Return a row shape, which has one or two positive sizes."""
    sizes = stored if isinstance(stored, list) else []
    if len(sizes) not in (1, 2) or not all(type(size) is int and size > 0 for size in sizes):
        raise StoreCorruptError(
            f"{where}: row_shape is {stored!r}, expected a list of one or two positive integers. "
            f"{RESTORE}"
        )
    return tuple(sizes)


def group(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return the document of a Zarr group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def root_attributes() -> dict[str, object]:
    """Return the attributes of a store."""
    return {"kind": layout.KIND, "schema_version": layout.SCHEMA_VERSION}


def part_attributes(num_rows: int, journal: bytes) -> dict[str, object]:
    """Return the attributes of a sealed part."""
    return {layout.NUM_ROWS: num_rows, layout.COMMITS_CRC32C: google_crc32c.value(journal)}


def read_attributes(folder: Path) -> dict[str, object]:
    """Return the attributes of a group.

    Raises:
        StoreCorruptError: if its ``zarr.json`` is gone, or not that of a group.
    """
    path = folder / layout.ZARR_JSON
    return attributes_of(json_object(path), str(path))


def attributes_of(document: Mapping[str, object], where: str) -> dict[str, object]:
    """Return the attributes that a ``zarr.json`` holds; raises as ``read_attributes`` does."""
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise StoreCorruptError(f"{where}: 'attributes' is not an object. {RESTORE}")
    return attributes


def read_stream_header(folder: Path) -> StreamHeader:
    """Return the header of a stream, compared with its copy in ``parts`` if there is one.

    A copy that is gone or that cannot be read does not matter here; ``verify`` finds it.

    Raises:
        StoreCorruptError: if the header is damaged, or says something else than the copy.
    """
    path = folder / layout.ZARR_JSON
    header = StreamHeader.from_attributes(read_attributes(folder), str(path))
    copy = folder / layout.PARTS
    try:
        attributes = read_attributes(copy)
    except StoreCorruptError:
        return header
    check_copy(header, attributes, str(path), str(copy / layout.ZARR_JSON))
    return header


def check_copy(
    header: StreamHeader, attributes: Mapping[str, object], where: str, copy: str
) -> None:
    """Raise unless the attributes of ``parts`` are those of its stream, or none.

    Raises:
        StoreCorruptError: if they say something else.
    """
    if attributes and attributes != header.parts_attributes():
        raise StoreCorruptError(
            f"{where}: its attributes are not those of {copy}, which are a copy; "
            f"one of the two was altered. {RESTORE}"
        )


def write_document(path: Path, document: Mapping[str, object]) -> None:
    """Put a ``zarr.json`` in its place, whole or not at all."""
    with replaced_file(path) as temporary:
        temporary.write_text(to_text(document), encoding="utf-8")


def to_text(document: Mapping[str, object]) -> str:
    """Return a document as it is written."""
    return json.dumps(document, indent=1)
