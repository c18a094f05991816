"""transformers kept off the console while it loads, where one line of ours says enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

from cache_schema.progress_bars import no_progress_bars

__all__ = ["quiet_loading"]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' loading report: blocks left out on purpose are not worth a table.

    Nor are bars: that of a GGUF file has no switch of its own.
    """
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with no_progress_bars():
            yield
    finally:
        transformers_logging.set_verbosity(level)
