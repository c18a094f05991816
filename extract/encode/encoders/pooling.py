"""From a network's tokens to the row of a window."""

# Shapes: B batch · N tokens, prefix tokens (CLS, registers) first · D feature dim

from torch import Tensor

from cache_schema.errors import ConfigError
from extract.encode.encoders.options import Pooling

__all__ = ["pool", "resolve_pooling"]


def resolve_pooling(encoder_id: str, asked: Pooling, *, default: Pooling, has_cls: bool) -> Pooling:
    """Replace ``default`` by what it means for this encoder, so that equal rows have equal recipes.

    Raises:
        ConfigError: if ``cls`` is asked of a network without such a token.
    """
    if asked == "cls" and not has_cls:
        raise ConfigError(
            f"encoder '{encoder_id}': pooling is 'cls' but the network has no CLS token. "
            "Use 'default', 'mean' or 'grid'."
        )
    return default if asked == "default" else asked


def pool(tokens_BND: Tensor, pooling: Pooling, num_prefix: int = 0) -> Tensor:
    """Return float32 rows: (B, D), or (B, N - num_prefix, D) for ``grid``.

    Args:
        tokens_BND: Last hidden state.
        pooling: ``cls``, ``mean`` or ``grid``; the latter two leave the prefix tokens out.
        num_prefix: CLS and register tokens at the front.
    """
    if pooling == "cls":
        return tokens_BND[:, 0].float()
    patches_BND = tokens_BND[:, num_prefix:].float()
    return patches_BND if pooling == "grid" else patches_BND.mean(dim=1)
