import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from extract.encode.cpu_threads import EncodeThreads, threads_for
from extract.encode.encoders import EncoderOptions, load_encoder
from tests.extract.tiny_models import write_model

BATCH = 4


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Return the default encoder and a tiny CLIP."""
    folder = tmp_path_factory.mktemp("models")
    options = EncoderOptions(device="cpu")
    clip, _ = write_model(folder, "clip")
    return [load_encoder(name, options) for name in ("efficientnet_lite0", str(clip))]


def pixels(encoder, num_windows):
    size = encoder.preprocess.crop or encoder.preprocess.size
    generator = torch.Generator().manual_seed(3)
    shape = (num_windows, encoder.frames_per_window, 3, *size)
    return torch.rand(shape, generator=generator) * 2 - 1


@pytest.mark.parametrize("which", [0, 1])
def test_rows_depend_neither_on_our_threads_nor_on_torchs(encoders, which):
    encoder = encoders[which]
    windows = pixels(encoder, 3 * BATCH - 1)
    rows = []
    before = torch.get_num_threads()
    for num_threads, torchs_threads in ((1, 1), (1, 2), (3, 2)):
        torch.set_num_threads(torchs_threads)
        with EncodeThreads(num_threads) as threads:
            batches = torch.split(windows, BATCH)
            made = [threads.submit(encoder, batch, BATCH) for batch in batches]
            rows.append(torch.cat([batch.result() for batch in made]))
    torch.set_num_threads(before)
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


class Elsewhere:
    """What says that it is not on the CPU, and notes the thread it is called from."""

    device = torch.device("meta")
    row_shape = (1,)

    def encode(self, pixels_BFCHW):
        self.thread = threading.current_thread()
        return torch.empty(len(pixels_BFCHW), 1, device=self.device)


def test_what_is_not_on_the_cpu_is_called_by_the_thread_that_owns_it():
    encoder = Elsewhere()
    with EncodeThreads(2) as threads:
        rows = threads.submit(encoder, torch.zeros(3, 1, 3, 8, 8, device="meta"), BATCH)
    assert encoder.thread is threading.current_thread()
    assert rows.result().shape == (3, 1)


@pytest.mark.parametrize(
    ("cores", "processes", "threads"),
    [(1, 1, 1), (8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1), (64, 1, 8)],
)
def test_processes_share_the_cores(monkeypatch, cores, processes, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert threads_for(processes) == threads


def test_what_is_mapped_comes_back_in_order_from_threads_of_one_core_each():
    def look(item):
        return item, threading.current_thread().name, torch.get_num_threads()

    with EncodeThreads(3) as threads:
        results = list(threads.map(look, range(20)))
    assert [item for item, _, _ in results] == list(range(20))
    assert all(name.startswith("encode") for _, name, _ in results)
    assert {cores for _, _, cores in results} == {1}


def test_a_programs_later_threads_have_as_many_of_torchs_as_before(encoders):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with EncodeThreads(2) as threads:
            threads.submit(encoders[1], pixels(encoders[1], 1), BATCH).result()
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_what_others_set_meanwhile_is_not_for_threads_that_encode():
    before = torch.get_num_threads()
    try:
        with EncodeThreads(1) as threads:
            assert list(threads.map(len, ["begun"])) == [5]
            torch.set_num_threads(3)
            assert list(threads.map(lambda _: torch.get_num_threads(), [None])) == [1]
    finally:
        torch.set_num_threads(before)
