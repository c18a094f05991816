"""A store open for writing: a writer for each of its streams, made when it is asked for."""

from abc import abstractmethod
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar

from cache_schema.recipe import Recipe
from cache_schema.stream import Stream
from cache_schema.writing.closing import ClosedOnExit
from cache_schema.writing.pending import check_same_stream, checked_row_shape
from cache_schema.zarr_backend.headers import StreamHeader

__all__ = ["StreamWriters"]


class _Closes(Protocol):
    def close(self) -> None: ...


W = TypeVar("W", bound=_Closes)


class StreamWriters(ClosedOnExit, Generic[W]):
    """See ``StoreWriter``; any number of processes may hold one of the same store at a time."""

    def __init__(self, where: str) -> None:
        """Begin without a stream.

        Args:
            where: The store, for messages.
        """
        self._where = where
        self._streams: dict[str, W] = {}
        self._made: dict[str, Stream] = {}

    @abstractmethod
    def _open_stream(self, name: str, header: StreamHeader) -> W:
        """Return a writer for a stream, which is made if it is not there, else checked."""

    def stream(
        self, name: str, recipe: Recipe, row_shape: tuple[int, ...], *, encoder_source: str = ""
    ) -> W:
        """Return a writer for a stream, which is made if it is not there."""
        row_shape = checked_row_shape(name, row_shape)
        if name in self._streams:
            check_same_stream(self._where, self._made[name], recipe, row_shape)
        else:
            header = StreamHeader(recipe=recipe, row_shape=row_shape, encoder_source=encoder_source)
            self._streams[name] = self._open_stream(name, header)
            self._made[name] = Stream(name, recipe, row_shape, ())
        return self._streams[name]

    def close(self) -> None:
        """Close every stream writer, the others also if one fails."""
        with ExitStack() as writers:
            for writer in self._streams.values():
                writers.callback(writer.close)
