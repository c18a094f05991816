"""What a head said of each row of a stream, kept on disk until the stream ends.

Memory stays flat, however long that takes. Shapes: R rows.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cache_schema.writing.closing import ClosedOnExit
from train.stream.row_stream import RowOutput
from train.task import SampleOutput, Window, WindowOutput, whole_video

__all__ = ["RowSpool"]


class RowSpool(ClosedOnExit):
    """Rows of one stream; all have the same outputs. A context manager."""

    def __init__(self, folder: Path | None) -> None:
        """Start without rows.

        Args:
            folder: On a disk with room for them; the files have no names there. None takes the
                system's.
        """
        self._folder = folder
        self._stack = ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, NDArray[Any]] = {}
        self._num_rows = 0

    def add(self, output: RowOutput) -> None:
        """Keep a row; one of which nothing was said is left out."""
        if not output.arrays:
            return
        for name, values in {"": np.array(output.times), **output.arrays}.items():
            if name not in self._files:
                file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
                self._files[name] = self._stack.enter_context(file)
                self._kinds[name] = np.empty((0, *values.shape), values.dtype)
            self._files[name].write(np.ascontiguousarray(values).tobytes())
        self._num_rows += 1

    def output(self, video: str, end_seconds: float | None) -> SampleOutput | None:
        """Return all rows as those of one video, as maps of the files; None if there are none.

        Args:
            video: Its id.
            end_seconds: Where it ended: no row lasts longer. None if it broke off.
        """
        if not self._num_rows:
            return None
        arrays = {name: self._map(name) for name in self._files}
        times_R2 = np.minimum(arrays.pop(""), np.inf if end_seconds is None else end_seconds)
        window = Window(sample=0, start=0, stop=self._num_rows)
        return SampleOutput(
            sample=whole_video(video),
            times_R2=times_R2,
            windows=[WindowOutput(window=window, arrays=arrays)],
        )

    def _map(self, name: str) -> NDArray[Any]:
        kind, file = self._kinds[name], self._files[name]
        file.flush()
        return np.memmap(file, kind.dtype, mode="r", shape=(self._num_rows, *kind.shape[1:]))

    def close(self) -> None:
        """Let go of the files, and with them of the rows."""
        self._stack.close()
