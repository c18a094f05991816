"""Ctrl-C at every place where a writer waits for the disk: what is written next is not touched."""

import os

import numpy as np
import pytest

from cache_schema.proof.verify import verify_store
from cache_schema.row_writer import RowWriter, imported_recipe
from cache_schema.store import open_store
from cache_schema.testing import make_rows

RECIPE = imported_recipe("i3d", fps=2)


@pytest.fixture(params=[".zarr", ".h5"])
def path(request, tmp_path):
    return tmp_path / f"s{request.param}"


def interrupting(monkeypatch, number):
    """Let the call of ``os.fsync`` with this number be interrupted, counted from 0."""
    inner, calls = os.fsync, iter(range(99))

    def sync(descriptor):
        if next(calls) == number:
            raise KeyboardInterrupt
        inner(descriptor)

    monkeypatch.setattr(os, "fsync", sync)


def check(path, videos):
    assert verify_store(path).problems == []
    stream = open_store(path).stream()
    assert stream.video_ids == sorted(videos)
    for video_id, rows in videos.items():
        np.testing.assert_array_equal(stream.read(video_id).values, rows)


# A part is made with the first video of a writer, and a commit waits for the disk three times.
@pytest.mark.parametrize("has_part", [False, True])
@pytest.mark.parametrize("number", range(12))
def test_what_follows_an_interrupted_video_has_its_own_rows(path, monkeypatch, number, has_part):
    with RowWriter(path, RECIPE) as writer:
        writer.write("a", make_rows(3))
    expected = {"a": make_rows(3), "c": make_rows(2, seed=2)}
    with RowWriter(path, RECIPE) as writer:
        if has_part:
            writer.write("z", make_rows(4, seed=3))
            expected["z"] = make_rows(4, seed=3)
        interrupting(monkeypatch, number)
        try:
            writer.write("b", make_rows(5, seed=1))
        except KeyboardInterrupt:
            assert "b" not in writer
        else:
            expected["b"] = make_rows(5, seed=1)
        monkeypatch.undo()
        check(path, {name: rows for name, rows in expected.items() if name != "c"})
        writer.write("c", make_rows(2, seed=2))
        check(path, expected)
    check(path, expected)


def test_a_full_commit_is_interrupted_at_every_place(path, monkeypatch):
    """The twelve calls above are enough: the last of them is never reached."""
    with RowWriter(path, RECIPE) as writer:
        writer.write("a", make_rows(3))
    calls = []
    inner = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(0), inner(descriptor)))
    with RowWriter(path, RECIPE) as writer:
        before = len(calls)
        writer.write("b", make_rows(3))
        assert 2 <= len(calls) - before < 12
