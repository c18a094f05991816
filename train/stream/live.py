"""A trained model beside a feed of rows: each row is answered when it comes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from cache_schema.stored_numbers import as_float32
from extract import LiveFeed, LiveRow
from train.answer import StreamedRow
from train.stream.row_stream import RowOutput, RowStream
from train.task import SampleOutput, Window, WindowOutput, whole_video
from train.tasks import AnyAnswers

__all__ = ["live_answers"]

Said = TypeVar("Said")


def live_answers(
    rows: RowStream,
    answers: AnyAnswers,
    feed: LiveFeed,
    *,
    video: str,
    on_output: Callable[[RowOutput], None] = lambda output: None,
) -> Iterator[StreamedRow]:
    """Answer the rows of a feed that is open, one by one.

    After a reconnect the model begins anew: what was seen before is another piece of video.

    Args:
        rows: At the start of a video.
        answers: Of the run's task.
        feed: Of the run's recipe.
        video: What the answers call it.
        on_output: Gets what the head said of each row.
    """
    last: LiveRow | None = None

    def said(output: RowOutput | None, row: LiveRow) -> Iterator[StreamedRow]:
        if output is not None:
            on_output(output)
            yield _streamed(answers, output, row, feed, video)

    for row in feed:
        if last is not None and row.connection != last.connection:
            yield from said(_on_one_thread(rows.finish), last)
        last = row
        values = torch.from_numpy(as_float32(row.values, feed.recipe.store_dtype))
        push = partial(rows.push, values, (row.start, row.end))
        yield from said(_on_one_thread(push), row)
        _on_one_thread(rows.prime)  # while nobody waits for an answer
    if last is not None:
        yield from said(_on_one_thread(rows.finish), last)


def _on_one_thread(compute: Callable[[], Said]) -> Said:
    """Compute without torch's threads: for single tokens they only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compute()
    finally:
        torch.set_num_threads(before)


def _streamed(
    answers: AnyAnswers, output: RowOutput, row: LiveRow, feed: LiveFeed, video: str
) -> StreamedRow:
    assert output.times is not None, "rows of a feed have times"
    answer = answers.answer([_as_sample(output, video)], ()) if output.arrays else None
    (told,) = answer.rows if answer is not None and answer.rows else (None,)
    start, end = output.times
    return StreamedRow(
        video=video,
        task=answers.facts.name,
        start=round(start, 6),
        end=round(end, 6),
        **asdict(feed.counts),
        now=told.now if told else (),
        next=told.next if told else (),
        ahead=told.ahead if told else (),
        futures=answer.futures if answer else (),
        captions=answer.captions if answer else (),
        latency_ms=round(1e3 * (time.monotonic() - row.arrived), 3),
    )


def _as_sample(output: RowOutput, video: str) -> SampleOutput:
    """Return a row as a video of one row, which is how answers are read."""
    window = Window(sample=0, start=0, stop=1)
    arrays = {name: values[None] for name, values in output.arrays.items()}
    return SampleOutput(
        sample=whole_video(video),
        times_R2=np.array([output.times], np.float64),
        windows=[WindowOutput(window=window, arrays=arrays)],
    )
