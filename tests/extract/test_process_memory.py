"""What a process frees stays with it where it is asked to."""

import gc
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from extract.process_memory import freed_memory_kept, nothing_collected

BYTES = 48 * 2**20
"""More than glibc keeps by itself."""


def new_pages(num_bytes=BYTES, arrays=1):
    """Return how often the system had to give pages for arrays that came and went ten times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [np.ones(num_bytes, np.uint8) for _ in range(arrays)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_freed_memory_serves_what_is_asked_for_next():
    with freed_memory_kept():
        np.ones(BYTES, np.uint8)
        inside = new_pages()
    outside = new_pages()
    assert 3 * inside < outside


def test_a_thread_keeps_what_lies_in_several_heaps():
    large = 40 * 2**20  # a thread's heaps are of 64 MB, so each array has its own
    with ThreadPoolExecutor(1) as thread:
        with freed_memory_kept():
            thread.submit(new_pages, large, arrays=3).result()
            inside = thread.submit(new_pages, large, arrays=3).result()
        outside = thread.submit(new_pages, large, arrays=3).result()
    assert 3 * inside < outside


def test_it_goes_back_at_the_end():
    before = resident_bytes()
    with freed_memory_kept():
        np.ones(BYTES, np.uint8)
        assert resident_bytes() - before > BYTES * 0.9
    assert resident_bytes() - before < BYTES * 0.1


def test_garbage_is_looked_for_again_behind_the_block_even_after_an_error():
    with nothing_collected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), nothing_collected():
        raise KeyError
    assert gc.isenabled()


def test_a_program_that_collects_nothing_is_left_to_it():
    gc.disable()
    try:
        with nothing_collected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
