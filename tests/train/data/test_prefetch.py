import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from train.data.prefetch import Prefetch


def threads():
    return [one for one in threading.enumerate() if one.name.startswith("prefetch")]


def test_items_come_in_order_and_the_thread_ends():
    with Prefetch(iter(range(20))) as items:
        assert list(items) == list(range(20))
    assert threads() == []


def test_torch_works_there_without_helpers_and_here_with_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Prefetch(torch.get_num_threads() for _ in range(3)) as counts:
            assert list(counts) == [1, 1, 1]
            assert torch.get_num_threads() == 3
            with ThreadPoolExecutor(1) as later:
                assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_of_the_source_surfaces_after_the_items_before_it():
    def source():
        yield 1
        raise ValueError("disk gone")

    seen = []
    with pytest.raises(ValueError, match="disk gone"), Prefetch(source()) as items:
        seen.extend(items)
    assert threads() == []


def test_leaving_early_joins_the_thread():
    with Prefetch(iter(range(10**9))) as items:
        for item in items:
            if item == 3:
                break
    assert threads() == []


def test_it_runs_ahead_but_not_further_than_asked():
    made = []

    def source():
        for item in range(100):
            made.append(item)
            yield item

    with Prefetch(source(), depth=3) as items:
        assert next(iter(items)) == 0
        deadline = time.monotonic() + 5
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(made) <= 4
