import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cache_schema import ConfigError, StoreError
from cache_schema.stream import Stream
from cache_schema.testing import make_rows, make_store
from train import WindowDataset

LENGTHS = {"a": 10, "b": 3, "c": 1}


@pytest.fixture(params=[".zarr", ".h5"])
def stream(request, tmp_path):
    return make_store(tmp_path / f"f{request.param}", LENGTHS, store_dtype="bfloat16").stream()


def expected_rows(seed, num_rows):
    bits = make_rows(num_rows, seed=seed, dtype="bfloat16").astype(np.uint32) << 16
    return bits.view(np.float32)


def test_windows_show_every_row_as_float32_with_its_times(stream):
    data = WindowDataset(stream, 4)
    assert [(w.video_id, w.first_row, w.num_rows) for w in data.windows] == [
        *(("a", 0, 4), ("a", 4, 4), ("a", 8, 2)),
        *(("b", 0, 3), ("c", 0, 1)),
    ]
    window = data[2]
    assert window.features.dtype == torch.float32
    np.testing.assert_array_equal(window.features[:2].numpy(), expected_rows(0, 10)[8:])
    assert window.features[2:].tolist() == [[0.0] * 4] * 2
    assert window.times.tolist() == [[4.0, 4.5], [4.5, 5.0], [0.0, 0.0], [0.0, 0.0]]
    assert window.is_valid.tolist() == [True, True, False, False]
    assert (window.video_id, window.first_row) == ("a", 8)


def test_windows_may_overlap_and_leave_videos_out(stream):
    data = WindowDataset(stream, 4, stride_rows=3, video_ids=["c", "a"])
    assert [w[:2] for w in data.windows] == [("c", 0), ("a", 0), ("a", 3), ("a", 6)]


def test_a_loader_reads_each_batch_by_one_call(stream, monkeypatch):
    calls = []
    read_windows = Stream.read_windows
    monkeypatch.setattr(
        Stream,
        "read_windows",
        lambda self, windows, out: (calls.append(len(windows)), read_windows(self, windows, out)),
    )
    batches = list(DataLoader(WindowDataset(stream, 4), batch_size=3))
    assert calls == [3, 2]
    assert batches[0].features.shape == (3, 4, 4)
    assert list(batches[1].video_id) == ["b", "c"]
    assert batches[1].first_row.tolist() == [0, 0]


def test_a_batch_read_directly_is_the_loader_s(stream):
    data = WindowDataset(stream, 4)
    (loaded,) = DataLoader(data, batch_size=5)
    read = data.read(range(5))
    for name in ("features", "times", "is_valid", "first_row"):
        assert torch.equal(getattr(read, name), getattr(loaded, name))
    assert read.video_id == list(loaded.video_id)
    assert data.read(iter(range(5))).video_id == read.video_id


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        (slice(1, None, 2), [1, 3]),
        (np.array([False, True, False, True, False]), [1, 3]),
        ([True, False, False, False, True], [0, 4]),
        (torch.tensor([3, 0]), [3, 0]),
        ((-1, 2), [4, 2]),
        ([], []),
    ],
)
def test_windows_are_chosen_as_of_an_array(stream, indices, expected):
    data = WindowDataset(stream, 4)
    read, whole = data.read(indices), data.read(range(5))
    for name in ("features", "times", "is_valid", "first_row"):
        assert torch.equal(getattr(read, name), getattr(whole, name)[expected])
    assert read.video_id == [whole.video_id[index] for index in expected]


@pytest.mark.parametrize("indices", [[True, False], [0.5], ["a"], [[0, 1]], 3, np.array(3)])
def test_what_chooses_no_windows_is_refused(stream, indices):
    with pytest.raises(
        ConfigError, match=r"expected numbers of windows, a slice, or a mask of .*5"
    ):
        WindowDataset(stream, 4).read(indices)


@pytest.mark.parametrize("start", ["spawn", "fork"])
@pytest.mark.parametrize("name", ["f.h5", "f.zarr"])
def test_a_worker_process_reads_the_same(tmp_path, name, start):
    data = WindowDataset(make_store(tmp_path / name, LENGTHS).stream(), 4)
    data[0]  # its files are open
    loader = DataLoader(data, batch_size=5, num_workers=1, multiprocessing_context=start)
    (loaded,) = loader
    assert torch.equal(loaded.features, data.read(range(5)).features)


def test_a_worker_that_is_forked_says_why_it_reads_no_bucket(address):
    data = WindowDataset(make_store(address, LENGTHS).stream(), 4)
    with pytest.raises(StoreError, match='multiprocessing_context="spawn"'):
        list(DataLoader(data, batch_size=5, num_workers=1, multiprocessing_context="fork"))
    (loaded,) = DataLoader(data, batch_size=5, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(loaded.features, data.read(range(5)).features)


def test_a_dataset_can_be_pickled(stream):
    data = WindowDataset(stream, 4)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[3].features, data[3].features)


def test_windows_that_cannot_be_are_refused(stream):
    with pytest.raises(ConfigError, match="windows of 0 rows, 0 rows apart"):
        WindowDataset(stream, 0)
    with pytest.raises(StoreError, match="no video 'd'"):
        WindowDataset(stream, 4, video_ids=["d"])
