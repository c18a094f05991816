"""``vllm-predict --stream``: a line for every row, equal to the answer of the whole video."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from cache_schema.errors import ConfigError
from tests.extract.videos import constant_pts, rot, write_video
from tests.train.forked_commands import Forked, Forking
from tests.train.predicting import answers, typed
from tests.train.streamed_runs import FRAMES, make_run, make_videos
from train.config import DataConfig, LlmConfig, TextConfig, TranslatorConfig
from train.predict.live import StreamReport

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/predictions.schema.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("streamed")
    make_videos(root)
    return root


@pytest.fixture(scope="module")
def plain(root):
    """A run that detects actions without an LLM."""
    return make_run(root, root / "plain", "online_action_detection", llm=LlmConfig(name="none"))


@pytest.fixture
def trained(request, root, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # without Java, captions are scored in no time
    *made, settings = request.param
    return make_run(root, tmp_path / "run", *made, **settings)


def lines_of(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
        assert line["latency_ms"] > 0
    return lines


def both(run, video, tmp_path):
    """What a run says of a file row by row and at once: lines, answer, scores of both."""
    for name, asked in (("live", ["--stream", video]), ("whole", [video])):
        out = ["--out", tmp_path / f"{name}.jsonl", "--scores", tmp_path / f"{name}.npz"]
        assert typed(run, *asked, *out).exit_code == 0
    scores = []
    for name in ("live", "whole"):
        with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as file:
            scores.append(dict(file))
    (answer,) = answers(tmp_path / "whole.jsonl").values()
    return lines_of(tmp_path / "live.jsonl"), answer, *scores


THREES = {
    "data": DataConfig(window_rows=4, context_rows=2, rows_per_token=3),
    "translator": TranslatorConfig(pool_rows=2),
}


@pytest.mark.parametrize(
    "trained",
    [
        ("online_action_detection", "gpt2", "prompt:3", {}),
        ("online_action_detection", "t5", "lora:4", {}),
        ("online_action_detection", "llama", "basic", THREES),
        ("action_anticipation", "opt", "lora:4", {}),
        ("action_anticipation", "llama", "prefix:3", {}),
        ("action_anticipation", "gpt2", "full", THREES),
        ("long_term_anticipation", "opt", "prefix:3", {}),
        ("long_term_anticipation", "llama", "lora:4", {}),
    ],
    ids=lambda one: "-".join(map(str, one[:3])),
    indirect=True,
)
def test_a_stream_has_the_scores_of_the_whole_video(root, trained, tmp_path):
    lines, answer, live, whole = both(trained, root / "x.mkv", tmp_path)
    assert sorted(live) == sorted(whole)
    assert len(live) > 1
    num_rows = len(whole["x/times"])
    assert num_rows in (34, 12)
    assert len(lines) == num_rows
    np.testing.assert_array_equal(live.pop("x/times"), whole.pop("x/times"))
    for name, expected in whole.items():
        assert np.ptp(expected, axis=0).max() > 1e-2 * np.abs(expected).max()  # rows differ
        assert np.abs(live[name] - expected).max() <= 1e-4 * np.abs(expected).max()
    check_as_answered(lines, answer)


def check_as_answered(lines, answer):
    """Check that lines say what the answer of the whole video says."""
    assert {(one["video"], one["task"]) for one in lines} == {("x", answer["task"])}
    if answer["task"] == "long_term_anticipation":
        last = [one["actions"] for one in lines[-1]["futures"]]
        assert last == [one["actions"] for one in answer["futures"]]
        assert all(len(line["futures"]) == 2 for line in lines)
        return
    for line, row in zip(lines, answer["rows"], strict=True):
        assert (line["start"], min(line["end"], FRAMES / 10)) == (row["start"], row["end"])
        told, expected = said_of(line), said_of(row)
        assert len(told) > 1
        assert told == pytest.approx(expected, abs=1e-4)


def said_of(row):
    """Kind and label -> probability of a line of a stream, or of a row of an answer."""
    kinds = {kind: row.get(kind, []) for kind in ("now", "next")}
    kinds |= {one["seconds"]: one["classes"] for one in row.get("ahead", [])}
    return {
        (kind, one["label"]): one["probability"]
        for kind, classes in kinds.items()
        for one in classes
    }


@pytest.mark.parametrize(
    "trained",
    [
        ("online_captioning", "gpt2", "prefix:3", {}),
        ("online_captioning", "gpt2", "lora:4", {}),
        ("online_captioning", "opt", "basic", THREES),
    ],
    ids=lambda one: "-".join(map(str, one[1:3])),
    indirect=True,
)
def test_captions_are_those_of_the_whole_video(root, trained, tmp_path):
    video = root / "x.mkv"
    assert typed(trained, "--stream", video, "--out", tmp_path / "live.jsonl").exit_code == 0
    assert typed(trained, video, "--out", tmp_path / "whole.jsonl").exit_code == 0
    said = []
    for line in lines_of(tmp_path / "live.jsonl"):
        for caption in line.get("captions", []):
            assert caption["start"] == caption["end"] == line["end"]
            if not said or said[-1][1] != caption["text"]:  # else it goes on
                said.append((min(caption["start"], FRAMES / 10), caption["text"]))
    (answer,) = answers(tmp_path / "whole.jsonl").values()
    assert said == [(one["start"], one["text"]) for one in answer["captions"]]
    assert len(said) > 2


def test_a_damaged_file_ends_with_exit_code_3_and_the_rows_so_far(root, plain, tmp_path):
    video = tmp_path / "bad.mkv"
    video.write_bytes((root / "x.mkv").read_bytes())
    rot(video, range(60, 70), num_bytes=40)
    out = ["--out", tmp_path / "a.jsonl", "--scores", tmp_path / "a.npz"]
    result = typed(plain, "--stream", video, *out, "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    lines = lines_of(tmp_path / "a.jsonl")
    assert 10 < len(lines) < 34
    assert (report["num_rows"], report["seconds"]) == (len(lines), lines[-1]["end"])
    assert report["error"].startswith(f"{video}: ")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as scores:
        assert len(scores["bad/times"]) == len(scores["bad/current"]) == len(lines)
    told = typed(plain, "--stream", video, *out)
    assert told.stdout.splitlines()[-1] == f"failed: {report['error']}"


class Process:
    """``vllm-predict RUN --stream -``, with a pipe that the test holds."""

    def __init__(self, start, run, scores):
        command = Path(sys.executable).with_name("vllm-predict")
        self.process = start([command, run, "--stream", "-", "--scores", scores, "--device", "cpu"])

    def write(self, content):
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def line(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Return the exit code, the lines that were left, and what was said beside them."""
        self.process.stdin.close()
        # The reader that gave single lines may have read ahead, which communicate() would lose.
        lines, said = (pipe.read().decode() for pipe in (self.process.stdout, self.process.stderr))
        return self.process.wait(60), list(map(json.loads, lines.splitlines())), said


@contextmanager
def running(start, plain, tmp_path):
    made = Process(start, plain, tmp_path / "s.npz")
    yield made
    made.process.kill()
    made.process.wait()
    for pipe in (made.process.stdin, made.process.stdout, made.process.stderr):
        pipe.close()


@pytest.fixture
def installed(plain, tmp_path):
    """The program as installed."""
    pipe = subprocess.PIPE
    start = partial(subprocess.Popen, stdin=pipe, stdout=pipe, stderr=pipe)
    with running(start, plain, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def forking():
    made = Forking()
    yield made
    made.close()


@pytest.fixture
def piped(forking, plain, tmp_path):
    """What the program does once it has imported what it needs."""
    with running(partial(Forked, forking, folder=tmp_path), plain, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def live_video(tmp_path_factory):
    """What a camera would write: 60 s, in clusters that can be read as soon as they are whole."""
    path = tmp_path_factory.mktemp("camera") / "x.mkv"
    options = {"live": "1", "cluster_time_limit": "500"}
    write_video(path, constant_pts(600, fps=10), rate=10, container_options=options)
    return path.read_bytes()


def test_lines_of_a_pipe_come_while_it_is_written(installed, live_video, tmp_path):
    half = len(live_video) // 2
    installed.write(live_video[:half])
    first = [installed.line() for _ in range(20)]  # the rest is not written before these are read
    installed.write(live_video[half:])
    code, rest, said = installed.end()
    lines = first + rest
    assert code == 0
    assert [(one["start"], one["end"]) for one in lines] == [
        (i / 4, i / 4 + 0.25) for i in range(240)
    ]
    assert {one["video"] for one in lines} == {"-"}
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    assert "-: 240 rows, 60.0 s; latency p50" in said
    with np.load(tmp_path / "s.npz", allow_pickle=False) as scores:
        assert scores["-/times"].shape == (240, 2)


@pytest.mark.parametrize(
    ("number", "num_lines", "seconds"),
    [
        (signal.SIGINT, 20, 0),  # while rows are made
        (signal.SIGTERM, 20, 0),
        (signal.SIGINT, 100, 1),  # while it waits for the pipe
    ],
)
def test_a_signal_ends_a_stream_that_is_still_open(
    piped, live_video, tmp_path, number, num_lines, seconds
):
    piped.write(live_video[: len(live_video) // 2])
    first = [piped.line() for _ in range(num_lines)]
    time.sleep(seconds)
    piped.process.send_signal(number)
    piped.process.wait(60)  # the pipe stays open
    code, rest, said = piped.end()
    assert code == 0
    num_rows = len(first + rest)
    assert f"-: {num_rows} rows, {num_rows / 4:.1f} s; latency p50" in said
    with np.load(tmp_path / "s.npz", allow_pickle=False) as scores:
        assert scores["-/times"].shape == (num_rows, 2)
        assert len(scores["-/current"]) == num_rows


def test_what_a_stream_has_no_use_for_is_refused(root, plain, tmp_path):
    source = [plain, "--stream", root / "x.mkv", "--out", tmp_path / "a.jsonl"]
    for name, more in (
        ("VIDEOS", []),
        ("--features", ["--features", root / "f.zarr"]),
        ("--videos", ["--videos", "a"]),
        ("--features-stream", ["--features-stream", "fake"]),
        ("--subset", ["--subset", "val"]),
        ("--annotations", ["--annotations", root / "own.jsonl"]),
        ("--allow-missing", ["--allow-missing", 1]),
        ("--workers", ["--workers", 2]),
        ("--format", ["--format", "csv"]),
    ):
        asked = [plain, root / "x.mkv", *source[1:]] if name == "VIDEOS" else [*source, *more]
        with pytest.raises(ConfigError, match=f"a line of JSON for every row; leave {name} out"):
            typed(*asked)
    with pytest.raises(ConfigError, match=r"a\.csv: --stream writes lines of JSON"):
        typed(*source[:-1], tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="online_action_detection has no queries"):
        typed(*source, "--query", "who?")
    with pytest.raises(ConfigError, match="answered by one run; leave the others out"):
        typed(plain, *source)
    assert "--realtime is for --stream" in typed(plain, root / "x.mkv", "--realtime").stderr
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize(
    "trained",
    [
        ("action_segmentation", "gpt2", "basic", {}),
        ("natural_language_query", "gpt2", "basic", {"text": TextConfig(max_tokens=8)}),
    ],
    ids=lambda one: one[0],
    indirect=True,
)
def test_a_task_that_answers_for_whole_videos_is_refused_whatever_is_asked(root, trained):
    with pytest.raises(
        ConfigError, match=r"answers for whole videos, not row by row, so it cannot"
    ):
        typed(trained, "--stream", root / "x.mkv")


def test_captions_have_no_scores(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run = make_run(root, tmp_path / "run", "online_captioning")
    with pytest.raises(ConfigError, match=r"its head writes words\. Leave --scores out"):
        typed(run, "--stream", root / "x.mkv", "--scores", tmp_path / "s.npz")


def test_percentiles_of_few_rows_lie_between_the_fastest_and_the_slowest():
    report = StreamReport(source="a.mp4", out="-")
    report.latencies_ms.extend([1.0, 10.0])
    assert report.latency_ms == {"p50": 5.5, "p95": 9.55, "p99": 9.91}
