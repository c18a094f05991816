"""What makes a writer usable in a ``with`` statement."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["ClosedOnExit"]


class ClosedOnExit(ABC):
    """Closes itself at the end of a ``with`` block, also of one that raised.

    What was committed stays, what was not is forgotten: both cases are the same.
    """

    @abstractmethod
    def close(self) -> None:
        """Forget pending rows and let go of the files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
