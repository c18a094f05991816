"""A live source as a feed of rows: capture -> windows -> encoder, by the recipe of others."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Self

from cache_schema.errors import ConfigError, PipelineError, VideoError
from cache_schema.recipe import Recipe
from cache_schema.writing.closing import ClosedOnExit
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders.whereabouts import found_encoder
from extract.live.capture import Capture, End, Tick
from extract.live.counts import LiveCounts
from extract.live.memory import Shown, ticks_of
from extract.live.rows import LiveRow, RowMaker, smallest_equal_batch
from extract.live.source import Address, open_address, without_password
from extract.plan.targets import Target, build_targets, check_recipe, config_of

__all__ = ["LiveFeed", "open_live"]

Source = str | Path | Iterable[Shown]


class LiveFeed(ClosedOnExit):
    """Rows of a source as they come. A context manager, to be gone through once."""

    def __init__(
        self, source: Source, target: Target, *, batch_size: int, is_paced: bool = False
    ) -> None:
        self.counts = LiveCounts()
        self.end_seconds: float | None = None
        """Of the video, once it has ended; None where it broke off."""
        self._source = source
        self._target = target
        self._batch_size = batch_size
        self._is_paced = is_paced
        self._stack = ExitStack()
        self._ticks: Iterable[Tick | End] | None = None
        """None before and behind the ``with``."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # One thread: with more, matrix libraries sum in another order.
            threads = stack.enter_context(EncodeThreads(1))
            encoder = self._target.encoder
            size = smallest_equal_batch(encoder, threads, self._batch_size)
            self._maker = RowMaker(encoder, threads, self._target.recipe, self.counts, size)
            self._ticks = self._open(stack)
            self._stack = stack.pop_all()  # all of it could be had
        return self

    def close(self) -> None:
        """End the capture; rows that nobody took are lost."""
        self._ticks = None
        self._stack.close()

    def __iter__(self) -> Iterator[LiveRow]:
        """Yield rows until the source ends.

        Raises:
            VideoError: if the source cannot be read any further.
            PipelineError: if it is not open.
            Exception: as it is, what else the capture ends of.
        """
        if self._ticks is None:
            raise PipelineError(
                "a live feed is not open. Go through it in a with statement: with open_live(...) "
                "as feed."
            )
        for thing in self._ticks:
            if isinstance(thing, Tick):
                yield from self._maker.push(thing)
                continue
            if isinstance(thing.error, PipelineError):
                raise VideoError(f"{self._name}: {thing.error}") from thing.error
            if thing.error is not None:
                raise thing.error  # a fault in a program, which its traceback tells
            self.end_seconds = thing.end_seconds
            if thing.end_seconds is not None:
                yield from self._maker.finish(thing.end_seconds)

    def end(self) -> None:
        """Make no further row of a source, whether it has ended or not; for signal handlers.

        Whoever gives frames in memory ends them by giving no more.
        """
        if isinstance(self._ticks, Capture):
            self._ticks.end()

    @property
    def recipe(self) -> Recipe:
        """How its rows are made."""
        return self._target.recipe

    @property
    def _name(self) -> str:
        return without_password(str(self._source))

    @property
    def _fps(self) -> Fraction:
        fps = self._target.recipe.sampling.fps
        assert fps is not None, "open_live has seen to it"
        return fps

    def _open(self, stack: ExitStack) -> Iterable[Tick | End]:
        if not isinstance(self._source, str | Path):
            return ticks_of(self._source, self._fps)
        try:
            return stack.enter_context(self._capture(Address(str(self._source))))
        except VideoError as error:
            raise VideoError(f"{self._name}: {error}") from error

    def _capture(self, address: Address) -> Capture:
        recipe = self._target.recipe
        assert recipe.decoder is not None, "only extracted streams have targets"
        backend = recipe.decoder.backend
        loses = address.waits_for_nobody or self._is_paced
        return Capture(
            lambda: open_address(address, backend, self.counts),
            self._fps,
            self.counts,
            most_ticks=recipe.sampling.frames_per_window if loses else 2,
            waits_for_nobody=loses,
            is_paced=self._is_paced,
            reconnects=address.waits_for_nobody,
        )


def open_live(
    recipe: Recipe,
    source: Source,
    *,
    encoder: str | None = None,
    encoder_source: str = "",
    device: str = "auto",
    realtime: bool = False,
) -> LiveFeed:
    """Open a source that may still be running, for rows made by the recipe of others.

    Args:
        recipe: Of an extracted stream. The version of the decoder alone may differ here.
        source: A file, ``-``, an address such as ``rtsp://host/path``, a camera such as
            ``/dev/video0``; or frames in memory: RGB uint8 (H, W, 3), the recipe's ``fps`` of
            them a second, or pairs of second, from the stream's start, and frame.
        encoder: Where to load the encoder from; None takes ``encoder_source`` where that can be
            found here, else the recipe's id.
        encoder_source: By which name it was loaded before, see ``Stream.encoder_source``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        realtime: Hold the frames of a file back until their time, and drop what the machine is too
            slow for, as if a camera filmed it now.

    Raises:
        ConfigError: if the recipe takes every frame: then a row has no length of its own; or if
            the encoder cannot be found.
        RecipeMismatchError: naming what would differ here, such as the encoder's weights.
    """
    if recipe.sampling.fps is None:
        raise ConfigError(
            "the run's features were made of every frame (fps 0), of which a live source has any "
            "number a second. Train on features of a fixed rate, such as fps 4."
        )
    with found_encoder(recipe.encoder, encoder, encoder_source) as name:
        config = config_of(recipe, name, device)
        target = build_targets(config, None)[0]
    check_recipe(recipe, target.recipe, any_decoder_version=True)
    return LiveFeed(source, target, batch_size=config.batch_size, is_paced=realtime)
