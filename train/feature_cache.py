"""Where features from a bucket are kept on this machine, as the settings say."""

from pathlib import Path

from cache_schema.errors import ConfigError
from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.place import Address, to_place
from cache_schema.user_cache import user_cache_folder
from train.checkpoints.result import CacheUse
from train.config import TrainConfig

__all__ = ["cache_text", "cache_use", "feature_cache"]

GB = 10**9


def feature_cache(config: TrainConfig) -> DiskCache | None:
    """Return the cache of a run; None if its features lie on this machine, or none is wanted.

    Those of a hub lie in the hub's own cache.

    Raises:
        ConfigError: if nothing says where the user's home is, nor the settings another folder.
    """
    place = to_place(config.features)
    if not isinstance(place, Address) or place.is_hub or not config.cache.gigabytes:
        return None
    return DiskCache(_folder(config.cache.folder), int(config.cache.gigabytes * GB))


def _folder(named: str) -> Path:
    try:
        return Path(named).expanduser() if named else user_cache_folder() / "features"
    except RuntimeError as error:
        raise ConfigError(
            "[train.cache] folder: nothing says where the user's home is. Name a folder there, or "
            "set gigabytes = 0."
        ) from error


def cache_use(cache: DiskCache) -> CacheUse:
    """Return what this process has read through a cache so far."""
    counts = cache.counts
    return CacheUse(
        folder=str(cache.folder),
        hit_rate=counts.hit_rate,
        read_bytes=counts.read_bytes,
        fetched_bytes=counts.fetched_bytes,
    )


def cache_text(use: CacheUse) -> str:
    """Return it for a reader.

    >>> cache_text(CacheUse(folder="c", hit_rate=0.9, read_bytes=10**10, fetched_bytes=10**9))
    '10 GB read, 90% of it from c, 1 GB fetched'
    """
    rate = "none" if use.hit_rate is None else f"{use.hit_rate:.0%}"
    return (
        f"{use.read_bytes / GB:.3g} GB read, {rate} of it from {use.folder}, "
        f"{use.fetched_bytes / GB:.3g} GB fetched"
    )
