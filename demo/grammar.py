"""The grammar of the demo set: which action follows which, how long they last, where none is.

Data in: a random generator and a length in frames. Data out: segments on a grid of 0.2 s.

The grammar is a Markov chain over actions. A noun goes through its routine of verbs, then hands
over to its usual successor; shortcuts and detours are rare, so the future can be predicted well but
not perfectly. Some nouns are reached by detours only, which makes them the tail classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo.vocabulary import ACTION_ID, ACTIONS, NOUN_OF_KEY, NOUNS, VERB_OF_KEY, Action

FRAMES_PER_SECOND = 15
# 0.2 s is a whole number of frames and of hundredths of a second, so a boundary has the same value
# in the 15-fps label files, in EPIC's timestamps and in JSON seconds.
STEP_FRAMES = 3

SUCCESSOR = {
    "astronaut": "coffee",
    "coffee": "cat",
    "cat": "motorcycle",
    "motorcycle": "rocket",
    "rocket": "moon",
    "moon": "photographer",
    "photographer": "astronaut",
    "galaxy": "retina",
    "retina": "tissue",
    "tissue": "photographer",
    "coins": "page",
    "page": "coffee",
}
DETOUR = {
    "astronaut": "motorcycle",
    "coffee": "coins",
    "cat": "astronaut",
    "motorcycle": "coffee",
    "rocket": "galaxy",
    "moon": "cat",
    "photographer": "rocket",
    "galaxy": "moon",
    "retina": "astronaut",
    "tissue": "rocket",
    "coins": "motorcycle",
    "page": "tissue",
}
"""The second most likely next noun."""

ROUTINE_GOES_ON = 0.88
ROUTINE_CUT_SHORT = 0.09
SUCCESSOR_AT_THE_END = 0.82

GAP_CHANCE_BETWEEN_NOUNS = 0.7
GAP_CHANCE_WITHIN_NOUN = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One action in frames, half-open [start, end)."""

    start_frame: int
    end_frame: int
    action: Action

    @property
    def start_seconds(self) -> float:
        """Return the start time."""
        return self.start_frame / FRAMES_PER_SECOND

    @property
    def end_seconds(self) -> float:
        """Return the end time (exclusive)."""
        return self.end_frame / FRAMES_PER_SECOND


def first_action(noun: str) -> Action:
    """Return the action a noun's routine begins with."""
    return Action(noun, NOUN_OF_KEY[noun].routine[0])


def next_actions(action: Action) -> dict[Action, float]:
    """Return what can follow an action, with probabilities that sum to 1."""
    routine = NOUN_OF_KEY[action.noun].routine
    position = routine.index(action.verb)
    successor, detour = first_action(SUCCESSOR[action.noun]), first_action(DETOUR[action.noun])
    if position == len(routine) - 1:
        return {successor: SUCCESSOR_AT_THE_END, detour: 1.0 - SUCCESSOR_AT_THE_END}
    return {
        Action(action.noun, routine[position + 1]): ROUTINE_GOES_ON,
        successor: ROUTINE_CUT_SHORT,
        detour: 1.0 - ROUTINE_GOES_ON - ROUTINE_CUT_SHORT,
    }


def transition_matrix() -> npt.NDArray[np.float64]:
    """Return the chain as an (A, A) matrix, A = number of actions; row = now, column = next."""
    matrix = np.zeros((len(ACTIONS), len(ACTIONS)))
    for action in ACTIONS:
        for following, chance in next_actions(action).items():
            matrix[ACTION_ID[action], ACTION_ID[following]] = chance
    return matrix


def sample_actions(rng: np.random.Generator) -> Iterator[Action]:
    """Yield an endless sequence of actions; it starts with any noun's routine."""
    action = first_action(NOUNS[int(rng.integers(len(NOUNS)))].key)
    while True:
        yield action
        following = next_actions(action)
        action = list(following)[int(rng.choice(len(following), p=list(following.values())))]


def sample_timeline(rng: np.random.Generator, frame_count: int) -> tuple[Segment, ...]:
    """Sample the actions of a video of `frame_count` frames; frames in none show background.

    Every video begins with background. Actions are never cut: the first that does not fit ends it.
    """
    segments: list[Segment] = []
    start = STEP_FRAMES * int(rng.integers(2, 9))
    for action in sample_actions(rng):
        if segments:
            start = segments[-1].end_frame + _gap_frames(rng, segments[-1].action, action)
        end = start + _duration_frames(rng, action)
        if end > frame_count:
            break
        segments.append(Segment(start_frame=start, end_frame=end, action=action))
    return tuple(segments)


def _duration_frames(rng: np.random.Generator, action: Action) -> int:
    typical_steps = round(
        VERB_OF_KEY[action.verb].typical_seconds * FRAMES_PER_SECOND / STEP_FRAMES
    )
    return STEP_FRAMES * (typical_steps + int(rng.integers(-1, 2)))


def _gap_frames(rng: np.random.Generator, before: Action, after: Action) -> int:
    if before.noun != after.noun:
        chance, longest_steps = GAP_CHANCE_BETWEEN_NOUNS, 5
    else:
        chance, longest_steps = GAP_CHANCE_WITHIN_NOUN, 2
    steps = int(rng.integers(1, longest_steps + 1))
    return STEP_FRAMES * steps if rng.random() < chance else 0
