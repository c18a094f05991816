"""Rows of a feed that a test writes, answered one by one."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from cache_schema.recipe import Recipe
from extract import LiveCounts, LiveRow
from tests.train.stream.streaming import setup
from tests.train.toy import ToyAnswers, ToyTask, learnable, recipe
from train.answer import Answer, Caption, ClassScore, Row
from train.config import DataConfig
from train.stream.live import live_answers
from train.stream.row_stream import RowStream


@dataclass
class Feed:
    """Stands for ``extract.LiveFeed``."""

    rows: Iterable[LiveRow]
    counts: LiveCounts = field(default_factory=LiveCounts)
    recipe: Recipe = field(default_factory=recipe)

    def __iter__(self) -> Iterator[LiveRow]:
        return iter(self.rows)


def live_rows(values, connection=0, offset=0.0):
    """Rows of half a second."""
    return [
        LiveRow(
            values=one.astype(np.float16),
            start=offset + number / 2,
            end=offset + number / 2 + 0.5,
            arrived=time.monotonic(),
            connection=connection,
        )
        for number, one in enumerate(values)
    ]


class RowAnswers(ToyAnswers):
    """Says the class of each row, as tasks do that can be streamed."""

    def answer(self, outputs, queries):
        (output,) = outputs
        names = self.labels()["current"]
        rows = tuple(
            Row(start=start, end=end, now=(ClassScore(label=names[row.argmax()], probability=1.0),))
            for (start, end), row in zip(
                output.times_R2.tolist(), output.rows("current"), strict=True
            )
        )
        return Answer(video="v", task="toy", duration=rows[-1].end, rows=rows)


def streamed(made, feed, on_output=lambda output: None):
    answers = RowAnswers()
    return live_answers(made.row_stream(), answers, feed, video="cam", on_output=on_output)


def test_each_row_is_told_as_the_head_says_it(tmp_path):
    made = setup(tmp_path)
    outputs = []
    rows = live_rows(learnable("a", 40))
    lines = list(streamed(made, Feed(rows), outputs.append))
    assert [(one.start, one.end) for one in lines] == [(one.start, one.end) for one in rows]
    assert {(one.video, one.task) for one in lines} == {("cam", "toy")}
    said = [f"class {one.arrays['current'].argmax()}" for one in outputs]
    assert [one.now[0].label for one in lines] == said
    assert len(set(said)) > 1


@pytest.mark.parametrize("family", ["llama", "none"])
def test_after_a_reconnect_the_model_begins_anew(tmp_path, family):
    data = DataConfig(window_rows=8, context_rows=3, rows_per_token=3)
    made = setup(tmp_path, family, data=data)
    values = learnable("a", 40)
    outputs = []
    # The first connection ends inside a group, and inside a window.
    feed = Feed(live_rows(values[20:31]) + live_rows(values, connection=1, offset=9.0))
    lines = list(streamed(made, feed, outputs.append))
    alone = []
    list(streamed(made, Feed(live_rows(values)), alone.append))
    assert [one.row for one in outputs] == [0, 1, 2, 3, *range(14)]
    assert lines[3].end == 5.5  # of the shorter group
    assert lines[4].start == 9.0
    for again, expected in zip(outputs[4:], alone, strict=True):
        np.testing.assert_array_equal(again.arrays["current"], expected.arrays["current"])


class SpeaksAtTurns(torch.nn.Module):
    """Says something of the rows that it is told, as the head of captions does."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, states):
        rows = states.rows_BTE[:, : states.targets["rows"].shape[1]]
        return self.head(replace(states, rows_BTE=rows))


class TurnAnswers(ToyAnswers):
    """Speaks at every full second, and at the end."""

    def build_head(self, context):
        return SpeaksAtTurns(super().build_head(context))

    def row_inputs(self, end, next_end):
        is_turn = math.ceil(end) < next_end
        return {"rows": np.zeros(int(is_turn), np.int64)}

    def answer(self, outputs, queries):
        end = float(outputs[0].times_R2[-1, 1])
        caption = Caption(start=end, end=end, text="the cat")
        return Answer(video="v", task="toy", duration=end, captions=(caption,))


@pytest.mark.parametrize(
    ("num_rows", "expected"),
    [
        # A row that ends at half a second is told with nothing, and again if it was the last.
        (4, [(0.5, False), (1.0, True), (1.5, False), (2.0, True)]),
        (3, [(0.5, False), (1.0, True), (1.5, False), (1.5, True)]),
    ],
)
def test_the_last_word_is_said_when_the_source_ends_or_is_lost(tmp_path, num_rows, expected):
    answers = TurnAnswers()
    made = setup(tmp_path, "none", task=ToyTask(answers=answers))
    rows = RowStream(
        made.model, "toy", made.data, torch.float16, inputs=answers.row_inputs, row_seconds=0.5
    )
    values = learnable("a", num_rows)
    feed = Feed(live_rows(values) + live_rows(values, connection=1, offset=100.0))
    lines = [(one.end, bool(one.captions)) for one in live_answers(rows, answers, feed, video="v")]
    assert lines == expected + [(100 + end, speaks) for end, speaks in expected]


def test_latency_counts_from_the_last_frame_of_a_row(tmp_path, monkeypatch):
    made = setup(tmp_path, "none")
    rows = [replace(one, arrived=10.0) for one in live_rows(learnable("a", 2))]
    clock = iter([10.25, 11.0])
    monkeypatch.setattr("train.stream.live.time.monotonic", lambda: next(clock))
    assert [one.latency_ms for one in streamed(made, Feed(rows))] == [250.0, 1000.0]


def test_a_row_is_out_before_the_past_of_the_next_window_is_read(tmp_path):
    made = setup(tmp_path, data=DataConfig(window_rows=4, context_rows=2))
    entered = []
    lines = streamed(made, Feed(live_rows(learnable("a", 6))))
    first = next(lines)
    made.model.llm.stack.layers[0].register_forward_pre_hook(
        lambda module, args: entered.append(args[0].shape[1])
    )
    for number in range(3):
        next(lines)
        assert entered == [1] * (number + 1)
    assert next(lines).start > first.start
    assert entered == [1, 1, 1, 2, 1]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_single_tokens_are_read_on_one_thread_and_the_caller_keeps_its_own(tmp_path, two_threads):
    made = setup(tmp_path, data=DataConfig(window_rows=2, context_rows=1))
    seen = []
    lines = streamed(made, Feed(live_rows(learnable("a", 4))))
    next(lines)
    made.model.llm.stack.layers[0].register_forward_pre_hook(
        lambda module, args: seen.append(torch.get_num_threads())
    )
    for _ in lines:
        assert torch.get_num_threads() == two_threads
    assert set(seen) == {1}


def test_what_went_wrong_so_far_stands_in_every_line(tmp_path):
    made = setup(tmp_path, "none")
    feed = Feed([])

    def rows():
        for number, row in enumerate(live_rows(learnable("a", 3))):
            feed.counts.dropped_rows = number
            feed.counts.late_frames = 2 * number
            yield row

    feed.rows = rows()
    lines = list(streamed(made, feed))
    assert [(one.dropped_rows, one.late_frames) for one in lines] == [(0, 0), (1, 2), (2, 4)]
    assert {(one.damaged_frames, one.reconnects) for one in lines} == {(0, 0)}
