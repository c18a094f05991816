"""The grammar: a proper Markov chain, predictable, and timelines on the 0.2-s grid."""

from collections import Counter, defaultdict
from itertools import islice, pairwise

import numpy as np
import pytest

from demo.grammar import Segment, next_actions, sample_actions, sample_timeline, transition_matrix
from demo.vocabulary import ACTIONS, VERB_OF_KEY, Action


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_next_actions_are_known_and_their_chances_sum_to_one(action: Action) -> None:
    following = next_actions(action)
    assert set(following) <= set(ACTIONS)
    assert sum(following.values()) == pytest.approx(1.0)


def test_every_action_can_be_reached_from_every_other() -> None:
    reachable = np.linalg.matrix_power(transition_matrix() + np.eye(len(ACTIONS)), len(ACTIONS))
    assert (reachable > 0).all()


def sampled_pairs(seeds: range) -> list[tuple[Action, Action]]:
    sequences = (islice(sample_actions(np.random.default_rng(seed)), 30) for seed in seeds)
    return [pair for sequence in sequences for pair in pairwise(sequence)]


def test_the_last_action_predicts_the_next_one_far_better_than_the_majority_class() -> None:
    seen: dict[Action, Counter[Action]] = defaultdict(Counter)
    for now, after in sampled_pairs(range(100)):
        seen[now][after] += 1
    new = sampled_pairs(range(1000, 1100))
    majority = sum(seen.values(), Counter[Action]()).most_common(1)[0][0]
    bigram_hits = sum(seen[now].most_common(1)[0][0] == after for now, after in new)
    majority_hits = sum(after == majority for _, after in new)
    assert bigram_hits / len(new) > 0.8
    assert majority_hits / len(new) < 0.1


def timeline(seed: int) -> tuple[Segment, ...]:
    return sample_timeline(np.random.default_rng(seed), 720)


def test_segments_are_in_order_on_the_grid_and_inside_the_video() -> None:
    bounds = [bound for s in timeline(3) for bound in (s.start_frame, s.end_frame)]
    assert bounds == sorted(bounds)
    assert all(bound % 3 == 0 for bound in bounds)
    assert 0 < bounds[0] <= 24
    assert bounds[-1] <= 720


def test_actions_last_about_as_long_as_is_typical_of_their_verb() -> None:
    for segment in timeline(4):
        length = segment.end_seconds - segment.start_seconds
        typical = VERB_OF_KEY[segment.action.verb].typical_seconds
        assert abs(length - typical) < 0.2 + 1e-9


def test_some_neighbouring_actions_touch_and_some_leave_a_gap() -> None:
    gaps = {after.start_frame - now.end_frame for now, after in pairwise(timeline(5))}
    assert 0 in gaps
    assert len(gaps) > 1
    assert max(gaps) <= 15


def test_a_48_second_video_holds_enough_actions_for_20_future_ones() -> None:
    assert min(len(timeline(seed)) for seed in range(50)) >= 24
