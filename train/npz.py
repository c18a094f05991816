"""Arrays into an npz file one by one: ``numpy.savez`` would hold them all at once.

With 4,000 classes the scores of a benchmark's videos are 3 GB.
"""

import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_array"]


def add_array(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    """Add an array that ``numpy.load`` finds under ``name``, uncompressed."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, values, allow_pickle=False)
