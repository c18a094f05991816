"""Names pretrained networks by their weights."""

from typing import Literal

from cache_schema.parsing import record

__all__ = ["LlmIdentity"]


@record
class LlmIdentity:
    """Which pretrained network a checkpoint was trained against."""

    name: str
    num_layers: int
    """Blocks kept."""
    weights: Literal["pretrained", "random"]
    dtype: Literal["float32", "bfloat16"]
    weights_sha256: str
    """Over names, shapes and bytes of the kept weights, in ``dtype``."""
    stack: Literal["decoder", "encoder"] = "decoder"
