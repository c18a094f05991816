"""Kill a process that writes a store, and see what is left. Run as a module, it is the writer."""

import itertools
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows

ROW_SHAPE = (32,)


def rows_of(number):
    return make_rows(1 + number * 131 % 700, ROW_SHAPE, seed=number)


def kill_a_writer(path, first, seconds):
    """Start a writer that begins with video ``first``, kill it, return the numbers it committed."""
    command = [sys.executable, "-m", "tests.cache_schema.killing", str(path), str(first)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as writer:
        assert writer.stdout.readline() == "open\n"
        time.sleep(seconds)
        writer.kill()
        return [int(line) for line in writer.stdout.read().splitlines()]


def check_kills(path, kills):
    """After each kill every committed video is there, whole, and at most one more."""
    moment, committed, looked_at = random.Random(0), [], set()
    for _ in range(kills):
        committed += kill_a_writer(path, 1000 * (1 + len(committed)), moment.uniform(0.05, 0.4))
        stream = open_store(path).stream()
        found = {int(video_id) for video_id in stream.video_ids}
        assert set(committed) <= found
        assert len(found - set(committed)) <= 1
        check_rows(stream, found - looked_at)
        looked_at |= found
        committed = sorted(found)
    check_rows(open_store(path).stream(), looked_at)


def check_rows(stream, numbers):
    for number in numbers:
        np.testing.assert_array_equal(stream.read(str(number)).values, rows_of(number))


def write_for_ever(path, first):
    stream = create_store(path).stream("tiny", make_recipe(), ROW_SHAPE)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    for number in itertools.count(first):
        rows = rows_of(number)
        stream.append(rows[:1])  # a kill may also fall between two appends of a video
        stream.abandon()
        add_video(stream, str(number), rows)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write_for_ever(sys.argv[1], int(sys.argv[2]))
