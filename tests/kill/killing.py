"""Kill a command at random instants, again and again, and look at the store after each time."""

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import Store, open_store
from tests.kill.server import Outcome

Pairs = set[tuple[str, ...]]
"""(stream, video)."""
Run = Callable[..., Outcome]

KILLS = int(os.environ.get("KILLS", "20"))
"""Of a command by ``kill_often``; ``make test-long`` asks for more."""
MOST_KILLS_OF_A_ROUND = 8
PLACE_SECONDS = 0.004
"""About as long as a worker is at a place that waits for the disk."""


@dataclass(kw_only=True)
class Reference:
    """What every reader must get, from a run nobody killed."""

    store: Store
    digest: str
    seconds: float
    """How long that run took."""
    visits: Counter[str]
    """How often it got to which place."""


def reference(run: Run, out: Path) -> Reference:
    """Run a command undisturbed."""
    outcome = run()
    assert outcome.exit_code == 0, outcome.stderr
    store = open_store(out)
    return Reference(
        store=store,
        digest=store_digest(store),
        seconds=outcome.seconds,
        visits=Counter(place for (place,) in outcome.of("visit")),
    )


def visible(path: Path) -> Pairs:
    """Return every video a reader finds."""
    streams = open_store(path).streams.values() if path.exists() else []
    return {(stream.name, video) for stream in streams for video in stream.video_ids}


def check_equal(path: Path, expected: Store) -> None:
    """Whatever is visible is whole: rows, times and record are those of the reference."""
    for stream in open_store(path).streams.values():
        wanted = expected.streams[stream.name]
        for video in stream.video_ids:
            found, rows = stream.read(video), wanted.read(video)
            np.testing.assert_array_equal(found.values, rows.values)
            np.testing.assert_array_equal(found.times_R2, rows.times_R2)
            assert stream.commit(video).video == wanted.commit(video).video
    assert verify_store(path).problems == []


def check_one_commit_each(path: Path) -> None:
    """No video was written twice, not even where no reader looks."""
    for stream in open_store(path).streams.values():
        lines = [commit.video.id for part in stream.parts for commit in part.commits]
        assert sorted(lines) == stream.video_ids


def kill_often(
    expected: Reference,
    start: Callable[[int], Run],
    check: Callable[[Outcome], None],
) -> Counter[str]:
    """Kill a command ``KILLS`` times; whenever it gets to its end, start anew.

    Half of the instants are drawn evenly over the time of a run. The other half come at, or just
    behind, the moment the worker gets to a place: first the place is drawn, then which visit.

    Args:
        expected: Of the undisturbed run.
        start: Prepares a fresh round (its number is given) and returns how to run the command.
        check: Called after each run, killed or not.

    Returns:
        How often a kill came at which place.
    """
    draw, places, rounds = random.Random(0), Counter[str](), 0
    while places.total() < KILLS:
        run, killed, tries = start(rounds), True, 0
        while killed:
            tries += 1
            # A command that is killed again and again in its first part would never end.
            is_left_alone = tries > MOST_KILLS_OF_A_ROUND
            aimed = places.total() % 2 == 0
            instant = {} if is_left_alone else _instant(draw, expected, is_aimed=aimed)
            outcome = run(**instant)
            check(outcome)
            killed = outcome.killed
            if not killed:
                # The reference was the first and a slow one; kills behind the end kill nothing.
                expected.seconds = min(expected.seconds, outcome.seconds)
            places.update([outcome.place] * killed)
        rounds += 1
    return places


def _instant(draw: random.Random, expected: Reference, *, is_aimed: bool) -> dict[str, object]:
    """Draw when to kill; early enough that most runs are, and the next ones get further."""
    if not is_aimed:
        return {"seconds": draw.uniform(0, expected.seconds * 0.7)}
    place = draw.choice(sorted(expected.visits))
    return {
        "place": place,
        "visit": draw.randint(1, -(-expected.visits[place] // 2)),
        "seconds": draw.choice((0, draw.uniform(0, PLACE_SECONDS))),
    }
