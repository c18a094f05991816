import subprocess
import sys
from threading import Barrier, Event

import pytest

from cache_schema.object_backend.waiting_line import WaitingLine


def test_everybody_has_a_turn_in_order():
    line = WaitingLine(1)
    served = []
    results = [line.submit(lambda number=number: served.append(number)) for number in range(100)]
    for one in results:
        one.result(timeout=10)
    assert served == list(range(100))


def test_so_many_are_served_at_a_time():
    line = WaitingLine(3)
    together = Barrier(3)
    for one in [line.submit(lambda: together.wait(10)) for _ in range(6)]:
        one.result(timeout=10)
    assert together.n_waiting == 0


def test_of_many_none_is_lost_and_every_thread_goes_on():
    line = WaitingLine(8)
    results = [line.submit(lambda number=number: number) for number in range(5000)]
    assert [one.result(timeout=30) for one in results] == list(range(5000))
    together = Barrier(8)
    for one in [line.submit(lambda: together.wait(10)) for _ in range(8)]:
        one.result(timeout=20)


def test_an_error_is_that_of_who_waits_and_the_next_has_its_turn():
    line = WaitingLine(1)
    failed, done = line.submit(lambda: 1 // 0), line.submit(lambda: 7)
    with pytest.raises(ZeroDivisionError):
        failed.result(timeout=10)
    assert done.result(timeout=10) == 7


def test_an_idle_line_is_woken_again():
    line = WaitingLine(2)
    for number in range(10):
        assert line.submit(lambda number=number: number).result(timeout=10) == number
    busy = Event()
    waits = line.submit(lambda: busy.wait(10))
    assert line.submit(lambda: 7).result(timeout=10) == 7
    busy.set()
    assert waits.result(timeout=10)


LEAVE_EARLY = """
import time
from cache_schema.object_backend.waiting_line import WaitingLine

line = WaitingLine(4)
for number in range(100):
    line.submit(lambda: print("served", flush=True) or time.sleep(0.3))
"""


def test_a_program_that_ends_begins_nothing_more():
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_EARLY], capture_output=True, text=True, check=True
    )
    # What was begun, and what others handed on before the end began.
    assert done.stdout.count("served") <= 2 * 4
    assert done.stderr == ""


WAIT_AT_THE_END = """
import time
from concurrent.futures import ThreadPoolExecutor, wait
from cache_schema.object_backend.waiting_line import WaitingLine

line = WaitingLine(2)
ThreadPoolExecutor(1).submit(wait, [line.submit(lambda: time.sleep(0.2)) for _ in range(100)])
"""


def test_nobody_waits_for_what_is_not_begun_any_more():
    # A thread that waited for ever would keep the program from ending.
    subprocess.run([sys.executable, "-c", WAIT_AT_THE_END], check=True, timeout=60)
