"""Libraries' progress bars kept off the console, where one line of ours says enough.

Both stages load networks through libraries that draw bars; some have a switch for them, some none.
All of them build on tqdm, so this needs to know of no other library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

__all__ = ["no_progress_bars"]


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Make every bar that is begun meanwhile an invisible one; those begun before go on.

    Holds for all threads of the process.
    """
    begin = tqdm.__init__

    def begin_invisible(bar: Any, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - tqdm's own
        begin(bar, *args, **{**settings, "disable": True})

    tqdm.__init__ = begin_invisible
    try:
        yield
    finally:
        tqdm.__init__ = begin
