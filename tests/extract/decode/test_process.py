import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cache_schema.errors import PassingVideoError, PipelineError, VideoError
from extract.decode.backends import open_video
from extract.decode.frames import SampledFrame, VideoFacts, sample_frames
from extract.decode.process import DecoderProcess, Prober
from extract.decode.pyav_source import probe
from tests.extract.videos import constant_pts, repeat, variable_pts, write_video

OPENER = "tests.extract.decode.bad_decoders:open_bad"
FEW_SLOTS = "tests.extract.decode.bad_decoders:open_few_slots"
ENDLESS = "tests.extract.decode.bad_decoders:open_endless"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("good") / "good.mp4", variable_pts(40))


@pytest.fixture(scope="module")
def process():
    with DecoderProcess(opener=OPENER, hang_seconds=30) as process:
        yield process


def decode(process, path, fps=Fraction(2), backend="pyav"):
    items = list(process.decode(path, backend, fps))
    assert isinstance(items[-1], VideoFacts)
    return items[:-1], items[-1]


def begin(process, path):
    process.begin(path, "pyav", Fraction(2))


def begin_and_wait(process, path):
    begin(process, path)
    process._child.wait()


def is_running(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except FileNotFoundError:
        return False


def wait_for(word, connection, seconds=10):
    """Wait until a message that holds a word lies unread."""
    deadline = time.monotonic() + seconds
    said = b""
    while word not in said:
        assert time.monotonic() < deadline
        with suppress(BlockingIOError):
            said = connection.recv(2**16, socket.MSG_PEEK)
        time.sleep(0.01)


def wait_for_end(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_the_memory_of_each_child_is_shown_before_frames_come(good):
    shown = []
    with DecoderProcess() as process:
        process.start()
        process.show_memory(shown.append)
        (frame, *_), _ = decode(process, good)
        base = frame.pixels.ctypes.data - np.frombuffer(shown[0], np.uint8).ctypes.data
        assert 0 <= base < len(shown[0])
        process._child.kill()
        with pytest.raises(VideoError):
            decode(process, good)
        decode(process, good)
    assert len(shown) == 2
    assert shown[0] is not shown[1]


@pytest.mark.parametrize("fps", [None, Fraction(30000, 1001)])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_child_gives_what_decoding_here_gives(process, good, fps, backend):
    facts = []
    expected = list(sample_frames(open_video(good, backend), fps, facts))
    got, got_facts = decode(process, good, fps, backend)
    assert [frame.num_ticks for frame in got] == [frame.num_ticks for frame in expected]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(got, expected, strict=True))
    assert got_facts.frame_seconds.tolist() == facts[0].frame_seconds.tolist()
    for name in ("duration_seconds", "num_frames", "fps", "width", "height", "decoder"):
        assert getattr(got_facts, name) == getattr(facts[0], name)


@pytest.mark.parametrize(
    ("fate", "stands", "sentence"),
    [
        ("segfaults", True, r"crashed \(SIGSEGV\)"),
        ("killed", False, r"killed \(SIGKILL\), most likely because memory ran out"),
        ("ended", False, r"ended from outside \(SIGTERM\)"),
        ("leaves", True, r"ended without an answer \(exit code 7\)"),
        ("exhausts", False, "needs more memory than there is"),
        ("hangs-up", False, "broke off the connection without ending"),
        ("stumbles", False, r"unexpected AttributeError: .*'open'\. The next run tries it again"),
        ("channels", True, r"gives frames of shape \(4, 6, 4\)"),
        ("nothing", False, "cannot be opened as a video: No such file"),
    ],
)
def test_a_decoder_that_dies_is_a_sentence_and_the_next_video_is_read(
    process, good, tmp_path, monkeypatch, fate, stands, sentence
):
    monkeypatch.setattr("extract.decode.process.BURIAL_SECONDS", 0.5)
    with pytest.raises(VideoError, match=sentence) as caught:
        decode(process, tmp_path / f"a_{fate}.mp4")
    assert caught.value.stands == stands
    assert decode(process, good)[1].num_frames == 40


MISSING = "libavformat.so.62: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("library", "why"),
    [
        (f"raise ImportError({MISSING!r})", rf"\(ImportError: {MISSING}\)"),
        ("import os; os._exit(3)", r"\(exit code 3; what it said stands above\)"),
        ("import ctypes; ctypes.string_at(0)", r"\(SIGSEGV; what it said stands above\)"),
    ],
    ids=["raises", "exits", "crashes"],
)
@pytest.mark.parametrize("ahead", [lambda process, path: None, begin, begin_and_wait])
def test_a_decoder_that_cannot_be_imported_is_no_videos_fault(
    good, tmp_path, monkeypatch, library, why, ahead
):
    (tmp_path / "av.py").write_text(library)
    monkeypatch.syspath_prepend(tmp_path)
    with DecoderProcess() as process:
        ahead(process, good)
        with pytest.raises(PipelineError, match=rf"the decoder does not start {why}") as caught:
            decode(process, good)
    assert not isinstance(caught.value, VideoError)


def test_frames_before_damage_come_and_leave_their_slots(good):
    with DecoderProcess(opener=OPENER) as process:
        got = []
        with pytest.raises(VideoError, match=r"is damaged\."):
            got.extend(process.decode(Path("a_breaks.mp4"), "pyav", Fraction(1)))
        assert len(got) == 9  # of the tenth nobody knows how long it is shown
        assert all(slot_is_used(frame.pixels) for frame in got)
        del got
        frames, _ = decode(process, good, None)  # of another size: it needs all slots free
        assert slot_is_used(frames[-1].pixels)


def test_a_decoder_that_hangs_is_stopped(good):
    with DecoderProcess(opener=OPENER, hang_seconds=1.5) as process:
        with pytest.raises(PassingVideoError, match=r"gave nothing for 1\.5 s and was stopped"):
            decode(process, Path("a_sleeps.mp4"))
        assert decode(process, good)[1].num_frames == 40


def test_a_long_stretch_without_a_sampled_frame_is_no_hang():
    with DecoderProcess(opener=OPENER, hang_seconds=2) as process:  # it takes 3 seconds
        assert decode(process, Path("a_slow.mp4"))[1].num_frames == 30


SUSPENDED = """
from fractions import Fraction
from pathlib import Path
from extract.decode.process import DecoderProcess

with DecoderProcess(opener="tests.extract.decode.bad_decoders:open_bad", hang_seconds=2) as process:
    process.start()
    print(process._child.pid, flush=True)
    frames = process.decode(Path("a_slow.mp4"), "pyav", Fraction(2))
    print(list(frames)[-1].num_frames)
"""


def test_time_in_which_a_job_is_suspended_is_no_hang():
    command = [sys.executable, "-c", SUSPENDED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        pids = [job.pid, int(job.stdout.readline())]
        time.sleep(0.5)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3)  # longer than a decoder may be silent
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.5)
        assert job.stdout.read() == "30\n"


def test_frames_left_unread_do_not_reach_the_next_video(process, good):
    frames = process.decode(good, "pyav", None)
    assert isinstance(next(frames), SampledFrame)
    frames.close()
    assert decode(process, good, None)[1].num_frames == 40


def test_frames_that_find_no_slot_are_carried_by_the_socket(good):
    expected = [frame.pixels for frame in sample_frames(open_video(good, "pyav"), None, [])]
    with DecoderProcess(opener=FEW_SLOTS) as process:
        got, _ = decode(process, good, None)  # all are kept
    assert [slot_is_used(frame.pixels) for frame in got] == [True] * 2 + [False] * 38
    assert all(np.array_equal(a.pixels, b) for a, b in zip(got, expected, strict=True))


def slot_is_used(rgb):
    return not isinstance(rgb.base, np.ndarray)


def test_a_run_that_stops_does_not_wait_for_a_hung_decoder():
    with DecoderProcess(opener=OPENER) as process:
        frames = process.decode(Path("a_sleeps.mp4"), "pyav", Fraction(1))
        next(frames)
        process.stop()
        started = time.monotonic()
        with pytest.raises(VideoError, match="the run was stopped"):
            list(frames)
        assert time.monotonic() - started < 5


def test_a_child_that_was_started_ahead_decodes(good):
    with DecoderProcess() as process:
        process.start()
        child = process._child
        assert child.poll() is None
        assert decode(process, good)[1].num_frames == 40
        assert process._child is child


@pytest.mark.parametrize("opener", [OPENER, FEW_SLOTS])
def test_a_video_that_was_begun_is_decoded_ahead_once_and_gives_all_of_it(good, opener):
    expected = [frame.pixels for frame in sample_frames(open_video(good, "pyav"), None, [])]
    with DecoderProcess(opener=opener) as process:
        process.begin(good, "pyav", None)
        child = process._child
        wait_for(b'"frames"', process._connection)  # nobody has asked for it yet
        frames, facts = decode(process, good, None)
        assert facts.num_frames == len(frames) == 40
        assert all(np.array_equal(a.pixels, b) for a, b in zip(frames, expected, strict=True))
        assert len(decode(process, good, Fraction(5))[0]) < 40  # and the next request, too
        assert process._child is child


@pytest.mark.parametrize(("times", "fps"), [(constant_pts(7), None), (None, Fraction(2))])
def test_something_else_than_was_begun_may_be_asked_for(good, tmp_path, times, fps):
    path = good if times is None else write_video(tmp_path / "other.mp4", times)
    facts = []
    expected = list(sample_frames(open_video(path, "pyav"), fps, facts))
    with DecoderProcess() as process:
        process.begin(good, "pyav", None)
        frames, got = decode(process, path, fps)
    assert len(frames) == len(expected)
    assert got.num_frames == facts[0].num_frames


@pytest.mark.parametrize("waits", [True, False])
def test_a_decoder_that_dies_of_what_was_begun_is_a_sentence_once_it_is_asked_for(
    process, good, waits
):
    fatal = Path("a_segfaults.mp4")
    process.begin(fatal, "pyav", Fraction(2))
    if waits:
        process._child.wait()
    with pytest.raises(VideoError, match="crashed"):
        decode(process, fatal)
    assert decode(process, good)[1].num_frames == 40


def test_a_child_that_ended_between_two_videos_is_replaced(process, good):
    decode(process, good)
    process._child.kill()
    process._child.wait()
    assert decode(process, good)[1].num_frames == 40


def test_a_child_imports_neither_torch_nor_what_it_does_not_need():
    code = (
        "import extract.decode.child, extract.decode.backends, sys; "
        "print({'torch', 'pydantic', 'decord'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


PARENT = """
import signal
import sys
from fractions import Fraction
from pathlib import Path
from extract.decode.process import DecoderProcess
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
process = DecoderProcess(opener=sys.argv[2])
frames = process.decode(Path(sys.argv[1]), "pyav", Fraction(1))
next(frames)
try:
    print(process._child.pid, flush=True)
    list(frames)
except KeyboardInterrupt:
    process.close()
"""


@contextmanager
def parent_and_child(name, opener):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, name, opener],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as parent:
        try:
            yield parent, int(parent.stdout.readline())
        finally:
            parent.kill()


@pytest.mark.parametrize(("name", "opener"), [("a_sleeps.mp4", OPENER), ("a.mp4", ENDLESS)])
def test_a_child_ends_with_a_parent_that_is_killed(name, opener):
    with parent_and_child(name, opener) as (parent, child):
        assert is_running(child)
        parent.kill()
        parent.communicate()
        assert wait_for_end(child)


def test_ctrl_c_ends_the_child_without_a_word():
    with parent_and_child("a.mp4", ENDLESS) as (parent, child):
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.communicate(timeout=10) == ("", "")
        assert wait_for_end(child)


def test_a_daemonic_process_may_decode(good):
    code = (
        "import multiprocessing, sys; multiprocessing.current_process()._config['daemon'] = True\n"
        "from pathlib import Path; from extract.decode.process import DecoderProcess\n"
        "with DecoderProcess() as process: print(process.probe(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(good)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 1


def test_a_module_beside_the_videos_is_not_imported(good, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with DecoderProcess() as process:
        assert process.probe(good) == probe(good)


def test_headers_are_read_by_threads_and_what_is_no_video_is_named(good, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with DecoderProcess() as first, Prober(first, 2) as prober:
        assert prober.probe(good) > 1
        with pytest.raises(VideoError, match="cannot be opened as a video"):
            prober.probe(tmp_path / "text.mp4")
        assert first._child is not None
        assert prober._others[0]._child is None


def test_another_prober_starts_only_when_one_is_slow(good, monkeypatch):
    monkeypatch.setattr(Prober, "WAIT_SECONDS", 0.01)
    with DecoderProcess() as first, Prober(first, 2) as prober:
        assert prober._take() is first
        assert prober.probe(good) > 1
        assert first._child is None
        assert prober._others[0]._child is not None


def test_a_prober_leaves_its_first_process_to_whoever_decodes(good):
    with DecoderProcess() as first:
        with Prober(first, 2) as prober:
            prober.start()
            child = first._child
            prober.probe(good)
        assert decode(first, good)[1].num_frames == 40
        assert first._child is child


def peak_megabytes(path, backend):
    """Return the child's largest resident size, and the video's facts."""
    with DecoderProcess() as process:
        for item in process.decode(path, backend, Fraction(2)):
            facts = item
        status = Path(f"/proc/{process._child.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024, facts


# 30,000 frames of 96x64 are more than decord may hold: it would take 550 MB.
@pytest.mark.parametrize(("backend", "times"), [("pyav", 40), ("decord", 200)])
def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path, backend, times):
    short = write_video(tmp_path / "short.mp4", constant_pts(150), options={"bf": "0"})
    long = repeat(short, tmp_path / "long.mp4", times)
    short_peak, _ = peak_megabytes(short, backend)
    long_peak, facts = peak_megabytes(long, backend)
    assert (facts.num_frames, facts.duration_seconds) == (150 * times, 5.0 * times)
    assert facts.decoder.startswith("pyav ")
    assert long_peak - short_peak < 8
