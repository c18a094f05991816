"""Fingerprint of a network's weights."""

import hashlib
from collections.abc import Mapping

from torch import Tensor

__all__ = ["weights_sha256"]


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (hex) over names, dtypes, shapes and bytes, in the order of the names.

    Args:
        state: State dict as loaded in float32, before any cast to the compute dtype, so that the
            same weights have the same hash whatever they are computed in.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return digest.hexdigest()
