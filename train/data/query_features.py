"""Features of queries that others made: query id -> array, from the files of a release.

    qid<id>.npz or <id>.npz    key last_hidden_state (Moment-DETR's, UniVTG's)

Shapes: L tokens of a query, C width of the text encoder.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError, ConfigError

__all__ = ["QueryFeatures"]

KEY = "last_hidden_state"
NAMES = ("qid{}.npz", "{}.npz")
NUM_NAMED = 5


class QueryFeatures:
    """The features of a release's queries; each is read when asked for."""

    def __init__(self, folder: Path) -> None:
        """Look at what there is.

        Args:
            folder: With a file for each query.

        Raises:
            ConfigError: if there is nothing of the kind.
        """
        self._folder = folder
        self._names = frozenset(path.name for path in folder.glob("*.npz"))
        if not self._names:
            raise ConfigError(
                f"text.features '{folder}': found no features of queries. Expected a folder with "
                "files such as qid12.npz; where a run's have moved, vllm-predict takes their place "
                "as --text-features."
            )
        self.width = self._array(min(self._names)).shape[1]
        """C."""

    def __contains__(self, query_id: str) -> bool:
        return self._name(query_id) is not None

    def require(self, query_ids: Iterable[str]) -> None:
        """Raise unless each of these queries is there.

        Raises:
            AnnotationError: naming the first that are not.
        """
        asked = list(dict.fromkeys(query_ids))
        missing = [query_id for query_id in asked if query_id not in self]
        if missing:
            more = ", ..." if len(missing) > NUM_NAMED else ""
            raise AnnotationError(
                f"text.features '{self._folder}' holds nothing of {len(missing)} of {len(asked)} "
                f"queries (ids {', '.join(missing[:NUM_NAMED])}{more}). Add their files, or leave "
                "text.features out."
            )

    def read(self, query_id: str) -> NDArray[np.float32]:
        """Return the (L, C) features of a query that is there.

        Raises:
            AnnotationError: if they cannot be read, or have another width than the others.
        """
        name = self._name(query_id)
        assert name is not None, "a query is read that was not required"
        array_LC = self._array(name)
        if array_LC.shape[1] != self.width:
            raise AnnotationError(
                f"{self._folder / name}: has width {array_LC.shape[1]}, the first one "
                f"{self.width}. Give features of one text encoder."
            )
        return array_LC

    def _name(self, query_id: str) -> str | None:
        names = (name.format(query_id) for name in NAMES)
        return next((name for name in names if name in self._names), None)

    def _array(self, name: str) -> NDArray[np.float32]:
        path = self._folder / name
        try:
            # Opened here: np.load would leave a damaged file open.
            with path.open("rb") as file:
                array = np.asarray(np.load(file, allow_pickle=False)[KEY])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise AnnotationError(f"{path}: cannot be read: {error}.") from error
        is_sound = array.ndim == 2 and array.dtype.kind == "f" and 0 not in array.shape
        if not is_sound or not np.isfinite(array).all():
            raise AnnotationError(
                f"{path}: holds {array.dtype} of shape {array.shape}, expected finite floating "
                "point numbers (tokens, width)."
            )
        return array.astype(np.float32)
