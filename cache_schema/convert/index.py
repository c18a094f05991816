"""Write down which parts a store has, for readers that no server will tell."""

from pathlib import Path

from cache_schema import layout
from cache_schema.errors import ConfigError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.indexed import index_text
from cache_schema.place import Place
from cache_schema.store import is_hdf5, open_store
from cache_schema.writing.durable import replaced_file
from cache_schema.writing.write_errors import write_errors

__all__ = ["write_index"]


def write_index(path: Place) -> dict[str, int]:
    """Make, or make again, the index of a store; return the number of parts of each stream.

    Of a folder only sealed parts are in it: others still grow.

    Raises:
        ConfigError: for an HDF5 file, which is one file.
        StoreError: if the store cannot be read, or the index not written.
    """
    if is_hdf5(path):
        raise ConfigError(f"{path}: is one file and needs no index; a web server's is not read.")
    parts = {
        name: [part.id for part in stream.parts if _is_sealed(path, name, part.id)]
        for name, stream in open_store(path).streams.items()
    }
    if isinstance(path, Path):
        with write_errors(path), replaced_file(path / layout.INDEX) as temporary:
            temporary.write_bytes(index_text(parts))
    else:
        Bucket(path).put(layout.INDEX, index_text(parts))
    return {name: len(ids) for name, ids in parts.items()}


def _is_sealed(path: Place, stream: str, part: str) -> bool:
    if not isinstance(path, Path):
        return True
    return (path / stream / layout.PARTS / part / layout.ZARR_JSON).exists()
