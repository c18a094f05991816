import math

import numpy as np
import pytest

from tests.train.model.tiny_llms import save_tiny_tokenizer
from tests.train.outputs import output_of, output_of_windows, rows_of
from train.answer import Answer, Caption
from train.answers.online_captioning import (
    CaptionAnswers,
    CaptionKnowledge,
    OnlineCaptioningOptions,
)
from train.task import IGNORED, Window, whole_video

WHERE, IS, IT, THE, CAT, DOG = range(2, 8)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    save_tiny_tokenizer(folder)
    return str(folder)


@pytest.fixture
def answers(generator):
    """Narrators who spoke every two seconds."""
    options = OnlineCaptioningOptions(generator=generator)
    return CaptionAnswers(CaptionKnowledge(seconds=2.0), options)


def written(*captions):
    """Generated ids (C, L), padded."""
    return np.array([[*ids, *[IGNORED] * (3 - len(ids))] for ids in captions])


def captions(answers, output):
    return [(one.start, one.end, one.text) for one in answers.answer([output], []).captions]


def test_a_caption_lasts_until_the_next_is_said(answers):
    output = output_of(
        whole_video("ego/a"), rows_of(6), generated=written([THE, CAT], [THE, DOG], [IT, IS])
    )
    assert answers.answer([output], []) == Answer(
        video="ego/a",
        task="online_captioning",
        duration=6.0,
        captions=(
            Caption(start=2.0, end=4.0, text="the cat"),
            Caption(start=4.0, end=6.0, text="the dog"),
            Caption(start=6.0, end=6.0, text="it is"),
        ),
    )


def test_a_caption_that_is_said_again_goes_on(answers):
    generated = written([THE, CAT], [THE, CAT], [THE, DOG], [THE, CAT])
    output = output_of(whole_video("v"), rows_of(8), generated=generated)
    assert captions(answers, output) == [
        (2.0, 6.0, "the cat"),
        (6.0, 8.0, "the dog"),
        (8.0, 8.0, "the cat"),
    ]


def test_one_row_is_told_when_the_video_ends(answers):
    output = output_of(whole_video("v"), rows_of(1), generated=written([IT]))
    assert captions(answers, output) == [(1.0, 1.0, "it")]


def test_rows_say_something_once_the_latest_has_ended(answers):
    # At 2 s only the row that ended at 1.5 s is known; at 4 s that of 3 s; then the video ends.
    output = output_of(
        whole_video("v"), rows_of(3, 1.5), generated=written([IT], [THE, CAT], [THE, DOG])
    )
    assert captions(answers, output) == [
        (1.5, 3.0, "it"),
        (3.0, 4.5, "the cat"),
        (4.5, 4.5, "the dog"),
    ]


def test_an_empty_caption_is_one(answers):
    output = output_of(whole_video("v"), rows_of(4), generated=written([], [IT]))
    assert captions(answers, output) == [(2.0, 4.0, ""), (4.0, 4.0, "it")]


def test_windows_are_asked_for_their_new_rows_and_each_says_them_once(answers):
    sample, times = whole_video("v"), rows_of(7)
    windows = [
        Window(sample=0, start=0, stop=3),
        Window(sample=0, start=2, stop=5, num_context=1),
        Window(sample=0, start=4, stop=7, num_context=1),
    ]
    rows = [answers.inputs(sample, times, window)["rows"].tolist() for window in windows]
    # Rows 1, 3, 5 and the last one, 6, counted from each window's start.
    assert rows == [[1], [1], [1, 2]]
    # Batches pad captions, too.
    output = output_of_windows(
        sample,
        times,
        (0, 3, 0, {"generated": written([THE, CAT], [DOG])}),
        (2, 5, 1, {"generated": written([THE, CAT], [DOG])}),
        (4, 7, 1, {"generated": written([THE, DOG], [IT])}),
    )
    assert captions(answers, output) == [
        (2.0, 6.0, "the cat"),
        (6.0, 7.0, "the dog"),
        (7.0, 7.0, "it"),
    ]


def test_a_window_may_have_nothing_to_say(answers):
    window = Window(sample=0, start=0, stop=1)
    rows = answers.inputs(whole_video("v"), rows_of(7), window)["rows"]
    assert (rows.dtype, rows.tolist()) == (np.int64, [])


@pytest.mark.parametrize("seconds", [0.2, 0.25, 0.7, 1.0, 3.9])
@pytest.mark.parametrize("length", [1.0, 4.0])
@pytest.mark.parametrize("end", [0.1, 1.0, 2.05, 7.5, 8.3])
def test_a_row_that_comes_speaks_where_it_does_in_the_whole_video(generator, seconds, length, end):
    # Rows of a quarter of a second or overlapping ones of a second; the last is cut short.
    starts = np.arange(0, end, 0.25)
    nominal = starts + length / 4
    times = np.stack([starts, np.minimum(nominal, end)], axis=1)[: np.sum(nominal < end) + 1]
    answers = CaptionAnswers(
        CaptionKnowledge(seconds=seconds), OnlineCaptioningOptions(generator=generator)
    )
    window = Window(sample=0, start=0, stop=len(times))
    whole = answers.inputs(whole_video("v"), times, window)["rows"]
    last = len(times) - 1
    live = [
        row
        for row in range(len(times))
        if len(
            answers.row_inputs(times[row, 1], math.inf if row == last else times[row, 1] + 0.25)[
                "rows"
            ]
        )
    ]
    assert whole.tolist() == live
    assert last in live
