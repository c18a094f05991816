"""Features as they are stored, and back: bfloat16, too, of which NumPy knows nothing."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "as_float32", "as_stored"]

Array = NDArray[np.generic]
"""Stored values, whatever their dtype."""


def as_float32(values: Array, store_dtype: str) -> NDArray[np.float32]:
    """Return stored values as float32; bfloat16 bits are the upper half of a float32."""
    if store_dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def as_stored(values: Array, store_dtype: str) -> Array:
    """Return numbers as they are stored, rounded to the nearest, ties to even.

    Goes through float32, as networks' outputs do. What does not fit becomes infinite.

    Args:
        values: Floating point numbers of any width; not NaN.
        store_dtype: ``float16``, ``float32`` or ``bfloat16``, which becomes its uint16 bits.
    """
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
        if store_dtype != "bfloat16":
            return numbers.astype(store_dtype)
    bits = numbers.view(np.uint32)
    # Half of what is cut off is added, less one if the last bit that stays is even.
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
