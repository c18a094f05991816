"""Encoders that stay loaded from one run to the next.

For who asks about one video after the other: loading takes longer than a short video does.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from extract.encode.encoders.options import EncoderOptions
from extract.encode.encoders.remembered import Circumstances, circumstances, load_and_remember

if TYPE_CHECKING:
    from extract.encode.encoders.base import Encoder

__all__ = ["KeptEncoders", "Load"]

Load = Callable[[str, EncoderOptions], "Encoder"]
"""Loads an encoder by its name and options."""


class KeptEncoders:
    """Lends each encoder to one run at a time, and keeps what comes back.

    A run has its encoder alone: on a GPU, one writes into buffers of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: dict[str, tuple[Circumstances, Encoder]] = {}

    @contextmanager
    def lent(self) -> Iterator[Load]:
        """Give a run what loads encoders, or lends one that is kept, until the block ends.

        One that would not give the same now, because its files changed, is loaded anew.
        """
        taken: dict[str, tuple[Circumstances, Encoder]] = {}

        def load(name: str, options: EncoderOptions) -> "Encoder":
            now = circumstances(name, options)
            if now is None:
                return load_and_remember(name, options)
            with self._lock:
                before, encoder = self._free.pop(now.name(), (None, None))
            if encoder is None or before != now:
                encoder = load_and_remember(name, options)
            taken[now.name()] = now, encoder
            return encoder

        yield load
        # Not after an error: nobody knows in which state it left them.
        with self._lock:
            self._free.update(taken)
