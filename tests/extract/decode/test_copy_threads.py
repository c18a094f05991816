import threading

import pytest

from extract.decode.copy_threads import NUM_THREADS, WORTH_BYTES, CopyThreads


def test_large_copies_are_made_beside_the_caller_and_waited_for():
    copies, done = CopyThreads(), []
    together = threading.Barrier(NUM_THREADS + 1, timeout=60)

    def copy():
        together.wait()
        done.append(threading.get_ident())

    for _ in range(NUM_THREADS):
        copies.run(copy, WORTH_BYTES)
    assert not done
    together.wait()
    copies.wait()
    assert len(set(done) - {threading.get_ident()}) == NUM_THREADS


def test_small_copies_are_made_at_once():
    done = []
    CopyThreads().run(lambda: done.append(threading.get_ident()), WORTH_BYTES - 1)
    assert done == [threading.get_ident()]


def test_a_copy_that_fails_is_told_of():
    copies = CopyThreads()
    copies.run(lambda: 1 / 0, WORTH_BYTES)
    with pytest.raises(ZeroDivisionError):
        copies.wait()
    copies.wait()
