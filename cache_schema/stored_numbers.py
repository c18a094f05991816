"""Features as they are stored, and back: bfloat16, too, of which NumPy knows nothing."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "are_finite", "as_float32", "as_stored", "num_not_finite"]

Array = NDArray[np.generic]
"""Stored values, whatever their dtype."""


INFINITE_BITS = {"float16": 0x7C00, "bfloat16": 0x7F80}
"""From here on, without its sign, a number of 16 bits is infinite or NaN."""


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


def are_finite(values: Array, store_dtype: str) -> bool:
    """Tell whether stored values are numbers, none of them infinite or NaN."""
    if store_dtype not in INFINITE_BITS:
        return bool(np.isfinite(values).all())
    # Ten times as fast as numpy, which converts float16 one by one and does not know bfloat16.
    bits = values.view(np.uint16) & np.uint16(0x7FFF)
    return int(bits.max(initial=0)) < INFINITE_BITS[store_dtype]


def num_not_finite(values: Array, store_dtype: str) -> int:
    """Count the stored rows that hold infinity or NaN."""
    if are_finite(values, store_dtype):
        return 0
    finite = np.isfinite(as_float32(values, store_dtype))
    return int((~finite.reshape(len(values), -1).all(axis=1)).sum())
