import pytest
import torch

from extract.encode.windows import WindowAssembler


def run(num_frames, length, stride):
    assembler = WindowAssembler(length, stride)
    windows = []
    for number in range(num_frames):
        windows += assembler.push(torch.full((1, 1, 1), float(number)), 1)
    windows += assembler.finish()
    return [window.flatten().int().tolist() for window in windows], assembler.padded_frames


@pytest.mark.parametrize(
    ("num_frames", "length", "stride", "expected", "padded"),
    [
        (5, 1, 1, [[0], [1], [2], [3], [4]], 0),
        (5, 2, 2, [[0, 1], [2, 3], [4, 4]], 1),
        (7, 4, 2, [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 6]], 1),
        (2, 4, 2, [[0, 1, 1, 1]], 2),
        (7, 1, 3, [[0], [3], [6]], 0),
        (8, 2, 3, [[0, 1], [3, 4], [6, 7]], 0),
    ],
)
def test_windows_cover_the_tail(num_frames, length, stride, expected, padded):
    assert run(num_frames, length, stride) == (expected, padded)


def test_a_frame_shown_for_several_ticks_counts_as_often():
    assembler = WindowAssembler(2, 2)
    windows = list(assembler.push(torch.zeros(1, 1, 1), 3)) + list(assembler.finish())
    assert len(windows) == 2
    assert (assembler.num_frames, assembler.padded_frames) == (3, 1)


def test_memory_holds_one_window_at_most():
    assembler = WindowAssembler(4, 2)
    for _ in range(1000):
        list(assembler.push(torch.zeros(1, 1, 1), 1))
    assert len(assembler._frames) <= 4
