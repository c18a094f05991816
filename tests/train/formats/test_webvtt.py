import html
import re

import pytest
import webvtt

from tests.train.formats.hand_made import (
    ALL,
    ANTICIPATION,
    AWKWARD,
    CAPTIONS,
    DETECTION,
    FUTURES,
    HIGHLIGHTS,
    MOMENTS,
    QUESTIONS,
    SEGMENTATION,
    of_video,
    segment,
)
from train.answer import Answer
from train.formats import open_format

ONE_LINE = " ".join(AWKWARD.split())

TIME = r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})"
TEXT = r"(?:[^\n&<>]|&(?:amp|lt|gt);)+"
"""Stricter than the grammar of cue text: no tags, no other entities."""
CUE = rf"{TIME} --> {TIME}\n({TEXT}(?:\n{TEXT})*)"


def read(answer, folder):
    """Text of the file and its cues as (start ms, end ms, text), by the grammar of WebVTT."""
    with open_format("vtt", folder) as writer:
        writer.write(answer)
    text = (folder / f"{answer.video}.vtt").read_bytes().decode("utf-8")
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    cues = []
    for block in blocks:
        found = re.fullmatch(CUE, block)
        assert found, block
        numbers = [int(one) for one in found.groups()[:8]]
        start, end = (
            (hours * 3600 + minutes * 60 + seconds) * 1000 + rest
            for hours, minutes, seconds, rest in (numbers[:4], numbers[4:])
        )
        cues.append((start, end, html.unescape(found[9])))
    return text, cues


def cues_of(answer, folder):
    return read(answer, folder)[1]


@pytest.mark.parametrize("answer", ALL, ids=lambda answer: answer.task)
def test_another_reader_finds_the_same_cues(answer, tmp_path):
    text, cues = read(answer, tmp_path)
    assert cues, "every task has something to show"
    others = webvtt.WebVTT.from_string(text, strict=True)
    assert [(one.start, one.end) for one in others] == [
        tuple(
            f"{time // 3600000:02}:{time // 60000 % 60:02}:{time // 1000 % 60:02}.{time % 1000:03}"
            for time in cue[:2]
        )
        for cue in cues
    ]
    assert [html.unescape(one.raw_text) for one in others] == [text for _, _, text in cues]


@pytest.mark.parametrize("answer", ALL, ids=lambda answer: answer.task)
def test_cues_are_in_order_and_last_a_while(answer, tmp_path):
    cues = cues_of(answer, tmp_path)
    assert [start for start, _, _ in cues] == sorted(start for start, _, _ in cues)
    assert all(start < end for start, end, _ in cues)
    assert all(text.strip() for _, _, text in cues)


def test_rounding_keeps_a_short_segment_and_hours_are_counted(tmp_path):
    assert cues_of(SEGMENTATION, tmp_path) == [
        (0, 1, "SIL"),
        (0, 3661001, ONE_LINE),
        (3661001, 3725500, "take_cup"),
    ]
    assert "01:01:01.001 --> 01:02:05.500\ntake_cup" in read(SEGMENTATION, tmp_path)[0]


def test_a_hundred_hours_have_three_digits(tmp_path):
    long = Answer(
        video="a", task="x", duration=4e5, segments=(segment(359999.9996, 360001.0, "end"),)
    )
    assert "\n100:00:00.000 --> 100:00:01.000\n" in read(long, tmp_path)[0]


def test_text_is_escaped_and_on_one_line(tmp_path):
    text, cues = read(CAPTIONS, tmp_path)
    assert cues == [(1000, 4000, "#C C stirs the soup"), (4000, 6000, ONE_LINE)]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; --&gt; &amp;amp; çå 切る 🍅" in text


def test_a_caption_without_words_is_no_cue(tmp_path):
    assert all(start != 6000 for start, _, _ in cues_of(CAPTIONS, tmp_path))


def test_classes_of_rows_are_cues_of_their_runs(tmp_path):
    assert cues_of(DETECTION, tmp_path) == [(0, 1000, "stir"), (1000, 1500, "pour")]


def test_forecasts_are_shown_when_they_can_be_said(tmp_path):
    assert cues_of(ANTICIPATION, tmp_path) == [
        (1000, 2000, "in 2 s: pour"),
        (1000, 3000, "in 1 s: stir"),
        (2000, 4000, "in 2 s: taste"),
        (3000, 4000, "in 1 s: pour"),
    ]


def test_unlikely_moments_are_left_out(tmp_path):
    assert cues_of(MOMENTS, tmp_path) == [
        (2000, 9500, "wash"),
        (10000, 20000, "cook"),
        (12000, 22000, "cook"),
        (20000, 30000, "eat"),
    ]


def test_the_best_span_of_a_query_is_always_shown(tmp_path):
    assert cues_of(QUESTIONS, tmp_path) == [
        (1000, 2000, "where is the pan? (30%)"),
        (7000, 8000, "where is the pan? (90%)"),
        (40000, 44000, "where is the pan? (20%)"),
    ]
    assert cues_of(HIGHLIGHTS, tmp_path) == [(2000, 4000, "@chef waves (70%)")]


def test_futures_are_the_last_cue_each_once(tmp_path):
    assert cues_of(FUTURES, tmp_path) == [
        (7000, 12000, "then: a, b, c, d, e, ...\nthen: a, =SUM(A1)")
    ]


def test_nothing_to_show_is_a_file_all_the_same(tmp_path):
    nothing = Answer(video="a/b", task="moment_query", duration=1.0)
    assert read(nothing, tmp_path) == ("WEBVTT\n", [])


def test_characters_that_no_player_knows_are_replaced(tmp_path):
    answer = of_video("a")
    answer = Answer(
        video="a", task=answer.task, duration=2.0, segments=(segment(0.0, 1.0, "\0a\x1b\u2028b"),)
    )
    assert cues_of(answer, tmp_path) == [(0, 1000, "�a� b")]
