import tracemalloc

import numpy as np

from tests.train.toy import ToyAnswers
from train.formats.scores import ScoreWriter
from train.stream.row_stream import RowOutput
from train.stream.spool import RowSpool


def said(row, **arrays):
    return RowOutput(row=row, times=(row / 2, row / 2 + 0.5), arrays=arrays)


def some(number):
    """What a head says of each of so many rows."""
    generator = np.random.default_rng(0)
    return [
        said(
            row,
            current=generator.normal(size=4).astype(np.float32),
            verb=generator.normal(size=(2, 3)).astype(np.float32),
        )
        for row in range(number)
    ]


def test_rows_come_back_as_those_of_one_video(tmp_path):
    rows = some(7)
    with RowSpool(tmp_path) as spool:
        for one in rows:
            spool.add(one)
        output = spool.output("x", None)
        assert output.sample.video_id == "x"
        np.testing.assert_array_equal(output.times_R2, [one.times for one in rows])
        for name in ("current", "verb"):
            expected = np.stack([one.arrays[name] for one in rows])
            np.testing.assert_array_equal(output.rows(name), expected)
            assert output.rows(name).dtype == np.float32


def test_no_row_lasts_longer_than_the_video(tmp_path):
    with RowSpool(tmp_path) as spool:
        for one in some(3):
            spool.add(one)
        whole, cut = (spool.output("x", end).times_R2.tolist() for end in (None, 1.2))
    assert whole == [[0.0, 0.5], [0.5, 1.0], [1.0, 1.5]]
    assert cut == [[0.0, 0.5], [0.5, 1.0], [1.0, 1.2]]


def test_rows_lie_on_the_disk_under_no_name(tmp_path):
    with RowSpool(tmp_path) as spool:
        for one in some(3):
            spool.add(one)
        assert list(tmp_path.iterdir()) == []
        output = spool.output("x", None)
        assert all(isinstance(one, np.memmap) for one in output.windows[0].arrays.values())


def test_a_row_of_which_nothing_was_said_is_left_out():
    with RowSpool(None) as spool:
        assert spool.output("x", None) is None
        spool.add(said(0))
        assert spool.output("x", 0.5) is None
        spool.add(some(2)[1])
        assert spool.output("x", 9.0).times_R2.tolist() == [[0.5, 1.0]]


def test_scores_of_hours_are_written_without_being_held(tmp_path):
    wide = np.ones((1000, 100), np.float32)
    with (
        RowSpool(tmp_path) as spool,
        ScoreWriter(tmp_path / "s.npz", ToyAnswers.facts) as scores,
    ):
        for row in range(150):
            spool.add(said(row, current=wide))
        tracemalloc.start()
        try:
            scores.write([spool.output("x", None)], ())
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 30e6  # of 60 MB; NumPy writes 16 MB at once
    with np.load(tmp_path / "s.npz", allow_pickle=False) as written:
        assert written["x/current"].shape == (150, 1000, 100)
