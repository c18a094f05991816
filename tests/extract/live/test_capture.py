import threading
import time
from collections import deque
from fractions import Fraction

import numpy as np
import pytest

from cache_schema import VideoError, open_store
from extract import LiveCounts, extract, open_live
from extract.live import capture
from extract.live.capture import Capture, End, Tick
from extract.live.mailbox import Mailbox
from extract.live.source import Address, LiveSource
from tests.extract.live.servers import camera
from tests.extract.videos import constant_pts, rot, write_video


@pytest.fixture
def recipe(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    extract(path, tmp_path / "f.zarr", encoders="fake", fps=4, device="cpu")
    return open_store(tmp_path / "f.zarr").stream().recipe


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(capture, "FIRST_WAIT_SECONDS", 0.05)


def test_a_source_that_breaks_off_is_connected_again(tmp_path, recipe, quick):
    content = write_video(tmp_path / "b.ts", constant_pts(60)).read_bytes()
    with (
        camera([content, None, content]) as address,
        open_live(recipe, address) as feed,
    ):
        rows = []
        for row in feed:
            rows.append(row)
            if row.connection == 1:
                break
    *before, later = rows  # where a busy machine has dropped none of them
    assert {row.start for row in before} <= {number / 4 for number in range(8)}
    # The stream's own clock went on; this server sends faster than a camera films.
    assert all(later.start >= row.end for row in before)
    assert feed.counts.reconnects == 1


def test_where_the_clock_is_set_back_a_pipe_begins_anew_behind_what_was_read(tmp_path):
    content = write_video(tmp_path / "b.ts", constant_pts(60)).read_bytes()
    counts = LiveCounts()
    with camera([content * 3]) as address:
        captured = Capture(
            lambda: LiveSource(Address(address), counts),
            Fraction(4),
            counts,
            most_ticks=2,
            waits_for_nobody=False,
            is_paced=False,
            reconnects=False,
        )
        with captured:
            ticks = [thing for thing in captured if isinstance(thing, Tick)]
    assert [(tick.connection, tick.number) for tick in ticks] == [
        (connection, number) for connection in range(3) for number in range(8)
    ]
    assert [tick.offset for tick in ticks if tick.number == 0] == [0, 2, 4]
    assert (counts.reconnects, counts.damaged_frames) == (2, 0)


def test_a_camera_whose_clock_jumps_begins_anew(tmp_path, recipe):
    content = write_video(tmp_path / "b.ts", constant_pts(60)).read_bytes()
    later = write_video(tmp_path / "c.ts", [1200 * 20 + pts for pts in constant_pts(60)])
    with camera([content + later.read_bytes()]) as address, open_live(recipe, address) as feed:
        rows = []
        for row in feed:
            rows.append(row)
            if row.connection == 1:
                break
    assert feed.counts.reconnects == 1
    assert max(row.start for row in rows) < 10, "the time between was not filled with one picture"


def test_of_an_avi_frames_are_counted_as_in_a_file(tmp_path):
    reordered = {"bf": "2", "x264-params": "b-adapt=0"}
    path = write_video(tmp_path / "v.avi", constant_pts(50, 25), rate=25, options=reordered)
    counts = LiveCounts()
    seconds: list[float] = []
    with camera([path.read_bytes()]) as address, pytest.raises(VideoError, match="broke off"):
        seconds.extend(float(now) for now, _ in LiveSource(Address(address), counts))
    assert len(seconds) > 40
    assert seconds == pytest.approx([number / 25 for number in range(len(seconds))])
    assert counts.damaged_frames == 0


def test_damaged_frames_are_counted_and_left_out(tmp_path):
    path = tmp_path / "b.mkv"
    write_video(path, constant_pts(60), options={"bf": "0"}, container_options={"live": "1"})
    rot(path, range(30, 40))
    counts = LiveCounts()
    frames: list[float] = []
    with camera([path.read_bytes()]) as address:
        source = LiveSource(Address(address), counts)
        with pytest.raises(VideoError, match="broke off"):
            frames.extend(float(seconds) for seconds, _ in source)
    assert frames[:30] == pytest.approx([number / 30 for number in range(30)], abs=1e-3)
    assert counts.damaged_frames > 0
    assert len(frames) + counts.damaged_frames <= 60


def test_the_end_of_the_reader_ends_the_thread(tmp_path, recipe):
    path = write_video(tmp_path / "b.mp4", constant_pts(300))
    before = threading.active_count()
    with open_live(recipe, path) as feed:
        next(iter(feed))
    assert threading.active_count() <= before


def test_a_mailbox_waits_or_drops():
    dropping: Mailbox[int] = Mailbox(2, drops_oldest=True)
    assert all(dropping.put(number) for number in range(5))
    assert (dropping.get(), dropping.get()) == (3, 4)
    waiting: Mailbox[int] = Mailbox(2, drops_oldest=False)
    thread = threading.Thread(target=lambda: [waiting.put(number) for number in range(5)])
    thread.start()
    time.sleep(0.05)
    assert [waiting.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    thread.join()


def test_the_end_drops_nothing_and_waits_for_nobody():
    for drops in (True, False):
        full: Mailbox[int] = Mailbox(1, drops_oldest=drops)
        full.put(0)
        full.finish(7)
        assert (full.get(), full.get()) == (0, 7)


def test_nothing_comes_behind_the_last_word_of_a_closed_mailbox():
    closed: Mailbox[int] = Mailbox(1, drops_oldest=True)
    closed.close(7)
    closed.finish(8)
    assert closed.get() == 7
    assert not closed._things


class Instants:
    """A source whose frames come at once; it ends with the last one."""

    decoder, fps, size = "fake 1", Fraction(4), (4, 6)

    def __init__(self, error=None):
        self._error = error

    def __iter__(self):
        for number in range(3):
            yield Fraction(number, 4), lambda: np.zeros((4, 6, 3), np.uint8)
        if self._error is not None:
            raise self._error

    def end_seconds(self, last_seconds):
        return last_seconds + Fraction(1, 4)


def captured(source, *, most_ticks):
    """Return what comes of a source that waits for nobody, taken once all has been captured."""
    capture = Capture(
        lambda: source,
        Fraction(4),
        LiveCounts(),
        most_ticks=most_ticks,
        waits_for_nobody=True,
        is_paced=False,
        reconnects=False,
    )
    with capture:
        capture._thread.join(5)
        return list(capture)


def test_the_last_tick_is_there_when_the_end_comes():
    *ticks, end = captured(Instants(), most_ticks=1)
    assert [tick.number for tick in ticks] == [2]
    assert end == End(0.75)


def test_a_closed_mailbox_lets_go_of_who_waits():
    waiting: Mailbox[int] = Mailbox(1, drops_oldest=False)
    waiting.put(0)
    said = []
    thread = threading.Thread(target=lambda: said.append(waiting.put(1)))
    thread.start()
    waiting.close(7)
    thread.join(5)
    assert said == [False]
    assert waiting.get() == 7


@pytest.mark.parametrize("error", [KeyError("pixels"), VideoError("broke off.")], ids=repr)
def test_what_a_source_raises_is_told_as_it_is(error):
    *_, end = captured(Instants(error), most_ticks=1)
    assert end.error is error


def test_an_error_that_is_no_sentence_leaves_a_feed_as_it_is(tmp_path, recipe, monkeypatch):
    path = write_video(tmp_path / "b.mp4", constant_pts(9))
    for error, raised in ((KeyError("pixels"), KeyError), (VideoError("broke off."), VideoError)):
        monkeypatch.setattr("extract.live.feed.open_address", lambda *_, e=error: Instants(e))
        with open_live(recipe, path) as feed, pytest.raises(raised) as caught:
            list(feed)
        assert error in (caught.value, caught.value.__cause__)


class Interrupted(deque):
    """Things that a signal comes behind the first look at."""

    def __init__(self, handler):
        super().__init__()
        self._handlers = [handler]

    def __len__(self):
        found = super().__len__()
        if self._handlers:
            self._handlers.pop()()
        return found


def test_a_signal_just_before_the_wait_is_not_lost():
    mailbox: Mailbox[int] = Mailbox(1, drops_oldest=True)
    mailbox._things = Interrupted(lambda: mailbox.close(7))  # handlers run in the thread that gets
    got = []
    thread = threading.Thread(target=lambda: got.append(mailbox.get()), daemon=True)
    thread.start()
    thread.join(5)
    assert got == [7]


def test_a_closed_mailbox_keeps_its_last_word():
    dropping: Mailbox[int] = Mailbox(1, drops_oldest=True)
    dropping.put(0)
    dropping.close(7)
    assert not dropping.put(1)
    assert dropping.get() == 7


def test_a_capture_that_is_ended_while_it_is_waited_for(tmp_path, recipe):
    path = write_video(tmp_path / "b.mp4", constant_pts(300))
    with open_live(recipe, path, realtime=True) as feed:
        timer = threading.Timer(0.5, feed.end)
        timer.start()
        rows = list(feed)
        timer.join()
    assert len(rows) < 10  # of 40, in ten seconds
    assert feed.end_seconds is None
