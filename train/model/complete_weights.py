"""Pretrained networks of which every weight was found."""

from typing import Any

from cache_schema.errors import ConfigError

__all__ = ["load_complete"]


def load_complete(kind: Any, source: str, **how: object) -> Any:  # noqa: ANN401 - transformers has no types
    """Return ``kind.from_pretrained(source, **how)``, refused where weights are missing.

    transformers makes those up at random, and its report of them is kept off the console.

    Args:
        kind: One of transformers' ``Auto`` classes.
        source: Folder or hub id.
        how: As ``from_pretrained`` takes it.

    Raises:
        ConfigError: if some are missing.
    """
    network, info = kind.from_pretrained(source, output_loading_info=True, **how)
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(
            f"llm '{how.get('gguf_file', source)}': {len(missing)} weights are missing from its "
            f"files, the first is '{missing[0]}'. They would be random; get complete weights."
        )
    return network
