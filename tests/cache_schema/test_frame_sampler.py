from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from cache_schema.frame_sampler import FrameSampler
from tests.cache_schema.test_timeline import RATES


def naive_counts(pts, end, fps):
    """For each tick before the end, the last frame with pts <= tick, else the first frame."""
    counts = [0] * len(pts)
    tick = 0
    while tick / fps < end:
        shown = [index for index, second in enumerate(pts) if second <= tick / fps]
        counts[shown[-1] if shown else 0] += 1
        tick += 1
    return counts


def sampled_counts(pts, end, fps):
    sampler = FrameSampler(fps)
    answers = [sampler.shown(second) for second in pts] + [sampler.finish(end)]
    assert answers[0] == 0
    return answers[1:]


@st.composite
def variable_rate_videos(draw):
    gaps = draw(st.lists(st.integers(1, 4000), min_size=1, max_size=40))
    start = draw(st.integers(0, 3000))
    seconds = [Fraction(start + sum(gaps[:index]), 1000) for index in range(len(gaps))]
    return seconds, seconds[-1] + Fraction(gaps[-1], 1000)


@settings(deadline=None, max_examples=150)
@given(variable_rate_videos(), RATES)
def test_a_tick_takes_the_last_frame_at_or_before_it(video, fps):
    pts, end = video
    assert sampled_counts(pts, end, fps) == naive_counts(pts, end, fps)


def test_every_frame_counts_once_without_a_rate():
    pts = [Fraction(0), Fraction(1, 7), Fraction(5)]
    assert sampled_counts(pts, Fraction(6), None) == [1, 1, 1]
    assert FrameSampler(None).finish(Fraction(1)) == 0


def test_a_frame_shown_for_no_tick_at_all_still_makes_one():
    assert sampled_counts([Fraction(0)], Fraction(0), Fraction(2)) == [1]
