"""transformers and the hub's library kept off the console, where one line of ours says enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from cache_schema.progress_bars import no_progress_bars

__all__ = ["quiet_loading"]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' loading report: blocks left out on purpose are not worth a table.

    Nor are bars: that of a GGUF file has no switch of its own. Nor is each try to reach a hub: the
    error after the last one says that it cannot be reached.
    """
    level, hub_level = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with no_progress_bars():
            yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
