"""The feature store: what both stages share, and all that a reader of features needs.

    from cache_schema import open_store

    stream = open_store("feats.zarr").stream()
    rows = stream.read("kitchen/0007", 12.0, 15.5)      # rows.float32, rows.times_R2

The names listed here are the public ones. Everything else, every module's path included, is
private and may change in any release. Nothing here imports torch; numpy comes with the first name.
"""

from typing import TYPE_CHECKING

from cache_schema.lazy import lazy_names

if TYPE_CHECKING:
    from cache_schema.errors import (
        AnnotationError,
        CheckpointError,
        ConfigError,
        HubError,
        PipelineError,
        RecipeMismatchError,
        SchemaVersionError,
        SourceError,
        StoppedError,
        StoreCorruptError,
        StoreError,
        StoreNotFoundError,
        VideoError,
    )
    from cache_schema.object_backend.disk_cache import DiskCache
    from cache_schema.recipe import (
        DecoderRecipe,
        EncoderRecipe,
        PreprocessRecipe,
        Recipe,
        SamplingRecipe,
    )
    from cache_schema.records import Commit, VideoRecord
    from cache_schema.row_writer import RowWriter, imported_recipe
    from cache_schema.store import Store, StoreWriter, StreamWriter, create_store, open_store
    from cache_schema.stored_numbers import as_float32, as_stored
    from cache_schema.stream import FeatureRows, RowSpan, Stream

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "Commit",
    "ConfigError",
    "DecoderRecipe",
    "DiskCache",
    "EncoderRecipe",
    "FeatureRows",
    "HubError",
    "PipelineError",
    "PreprocessRecipe",
    "Recipe",
    "RecipeMismatchError",
    "RowSpan",
    "RowWriter",
    "SamplingRecipe",
    "SchemaVersionError",
    "SourceError",
    "StoppedError",
    "Store",
    "StoreCorruptError",
    "StoreError",
    "StoreNotFoundError",
    "StoreWriter",
    "Stream",
    "StreamWriter",
    "VideoError",
    "VideoRecord",
    "as_float32",
    "as_stored",
    "create_store",
    "imported_recipe",
    "open_store",
]

_HOMES = {
    "cache_schema.errors": [name for name in __all__ if name.endswith("Error")],
    "cache_schema.object_backend.disk_cache": ["DiskCache"],
    "cache_schema.recipe": [name for name in __all__ if name.endswith("Recipe")],
    "cache_schema.records": ["Commit", "VideoRecord"],
    "cache_schema.row_writer": ["RowWriter", "imported_recipe"],
    "cache_schema.store": ["Store", "StoreWriter", "StreamWriter", "create_store", "open_store"],
    "cache_schema.stored_numbers": ["as_float32", "as_stored"],
    "cache_schema.stream": ["FeatureRows", "RowSpan", "Stream"],
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker would believe any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
