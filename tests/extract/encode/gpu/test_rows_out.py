"""Rows on their way; ``tests/extract/test_cuda.py`` sees what waits for a GPU that is there."""

import pytest
import torch

from extract.encode.gpu.rows_out import RowsOfGpu


class OnGpu:
    """Rows of a made-up GPU, which copies them when it comes to it."""

    is_cuda = True
    device = torch.device("cuda:1")

    def __init__(self, values, events):
        self.values, self.events = values, events

    def to(self, device, *, non_blocking):
        assert (device, non_blocking) == ("cpu", True)
        self.events.append("copy")
        return self.values


@pytest.fixture
def events(monkeypatch):
    """Return what the made-up GPU is told, in order."""
    told = []

    class Event:
        def __init__(self, *, blocking):
            assert blocking, "a core would be busy with waiting"

        def record(self, stream):
            told.append(f"note on {stream}")

        def synchronize(self):
            told.append("wait for the note")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    return told


def test_the_copy_is_asked_for_at_once_and_nothing_but_it_is_waited_for(events):
    values = torch.rand(2, 3)
    rows = RowsOfGpu(OnGpu(values, events))
    assert events == ["copy", "note on the stream of cuda:1"]
    assert rows.result() is values
    assert events[2:] == ["wait for the note"]


def test_rows_that_lie_elsewhere_stay_there(events):
    values = torch.empty(2, 3, device="meta")
    assert RowsOfGpu(values).result() is values
    assert not events
