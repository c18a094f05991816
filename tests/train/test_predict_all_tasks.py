"""All eight tasks: a run whose annotations are gone is asked about a video that nobody labelled."""

import json
from itertools import pairwise

import numpy as np
import pytest

from cache_schema.errors import ConfigError
from cache_schema.parsing import parse
from extract import extract
from tests.extract.videos import constant_pts, write_video
from tests.train.model import tiny_llms
from tests.train.predicting import typed
from tests.train.runs import make_trainer
from train.answer import Answer
from train.config import DataConfig, LlmConfig, OptimConfig, TrainConfig
from train.tasks import TASKS, task_class

SECONDS = 5.0
ACTIONS = ("stir soup", "cut egg")


def line(video, subset):
    """Everything that a task can learn about five seconds."""
    return {
        "video": video,
        "subset": subset,
        "duration": SECONDS,
        "actions": [
            {"start": number, "end": number + 1.0, "verb": verb, "noun": noun}
            for number, (verb, noun) in enumerate(
                ACTIONS[number % 2].split() for number in range(5)
            )
        ],
        "moments": [{"start": 1.0, "end": 3.0, "label": "cooking"}],
        "queries": [{"query": "where is the cat", "start": 1.0, "end": 2.0}],
        "captions": [{"time": 0.5, "text": "the cat"}, {"time": 4.5, "text": "the dog"}],
        "highlights": [{"query": "the dog", "saliency": [0, 4, 1]}],
    }


OPTIONS = {
    "action_segmentation": {"next_weight": 0.5, "decoder": "two_head"},
    "long_term_anticipation": {
        "num_input_actions": 2,
        "num_future_actions": 3,
        "num_sequences": 2,
    },
    "moment_query": {"num_moments": 3},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Videos, their features, annotations and a tiny LLM with words."""
    root = tmp_path_factory.mktemp("all")
    for name in ("seen/a", "seen/b", "new/x", "new/y"):
        write_video(root / "videos" / f"{name}.mp4", constant_pts(round(SECONDS * 10), fps=10))
    extract(root / "videos", root / "f.zarr", encoders="fake", fps=4, device="cpu")
    lines = [line("seen/a", "train"), line("seen/b", "val")]
    (root / "own.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_llms, "POSITIONS", 128)  # queries may be long
        tiny_llms.save_tiny_tokenizer(tiny_llms.save_tiny_llm("gpt2", root / "llm"))
    return root


def config_of(name, root, annotations, **settings):
    return TrainConfig(
        task=(name,),
        annotations=(str(annotations),),
        features=str(root / "f.zarr"),
        device="cpu",
        llm=LlmConfig(name=str(root / "llm"), num_layers=0, dtype="float32"),
        data=DataConfig(window_rows=8, context_rows=2),
        optim=OptimConfig(epochs=1, batch_size=2),
        tasks={name: OPTIONS[name]} if name in OPTIONS else {},
        **settings,
    )


@pytest.fixture
def trained(request, root, tmp_path, monkeypatch):
    """A run of a task, without what it was trained with."""
    monkeypatch.setenv("PATH", "")  # without Java, captions are scored in no time
    annotations = tmp_path / "own.jsonl"
    annotations.write_bytes((root / "own.jsonl").read_bytes())
    name = request.param
    make_trainer(config_of(name, root, annotations), tmp_path / "run").train()
    annotations.unlink()
    return name, (tmp_path / "run").rename(tmp_path / "moved")


def queries(name):
    """What is asked, as flags."""
    if task_class(name).answers_type.facts.query_place == "none":
        return []
    return ["--query", "Where is the cat?", "--query", "the dog"]


def check_rows(answer, kinds):
    assert len(answer.rows) == 20
    assert answer.rows[-1].end == SECONDS
    for row in answer.rows:
        for kind in kinds:
            found = getattr(row, kind)
            assert {one.label for one in found} == set(ACTIONS)
            assert sum(one.probability for one in found) == pytest.approx(1, abs=1e-5)


def check_segments(answer, labels):
    borders = [(one.start, one.end) for one in answer.segments]
    assert (borders[0][0], borders[-1][1]) == (0.0, SECONDS)
    assert all(one[1] == other[0] for one, other in pairwise(borders))
    assert {one.label for one in answer.segments} <= labels


def check_queries(answer):
    assert [one.query for one in answer.queries] == ["Where is the cat?", "the dog"]
    for asked in answer.queries:
        assert asked.spans
        assert all(0 <= one.start < one.end <= SECONDS for one in asked.spans)
        scores = [one.score for one in asked.spans]
        assert scores == sorted(scores, reverse=True)


def check(answer):
    """What must be said of five seconds, whatever a hardly trained run thinks of them."""
    if answer.task == "online_action_detection":
        check_segments(answer, set(ACTIONS))
        check_rows(answer, ["now", "next"])
    elif answer.task == "action_anticipation":
        assert [[one.seconds for one in row.ahead] for row in answer.rows] == [[1.0, 2.0]] * 20
    elif answer.task == "action_segmentation":
        check_segments(answer, {"background", "stir_soup", "cut_egg"})
    elif answer.task == "long_term_anticipation":
        assert [(one.time, len(one.actions)) for one in answer.futures] == [(SECONDS, 3)] * 2
        assert {action for one in answer.futures for action in one.actions} <= set(ACTIONS)
    elif answer.task == "moment_query":
        assert {one.label for one in answer.segments} <= {"cooking"}
    elif answer.task == "online_captioning":
        assert answer.captions[-1].end == SECONDS
        # As often as the narrators spoke; the windows before that have nothing to say.
        assert answer.captions[0].start == 4.0
    else:
        check_queries(answer)
        rows = 20 if answer.task == "highlight_detection" else 0
        assert [len(one.saliency) for one in answer.queries] == [rows] * 2


@pytest.mark.parametrize("trained", TASKS, indirect=True)
def test_a_new_video_is_answered_alike_from_its_file_and_from_a_store(root, trained, tmp_path):
    name, run = trained
    asked = queries(name)
    scores = [] if name == "online_captioning" else ["--scores", tmp_path / "s.npz"]
    made = typed(run, root / "videos" / "new", "--out", tmp_path / "made.jsonl", *asked, *scores)
    assert made.exit_code == 0
    lines = (tmp_path / "made.jsonl").read_text().splitlines()
    answers = [parse(Answer, text, where="made") for text in lines]
    assert [(one.video, one.task, one.duration) for one in answers] == [
        ("x", name, SECONDS),
        ("y", name, SECONDS),
    ]
    for one in answers:
        check(one)
    stored = ["--features", root / "f.zarr", "--videos", "x", "--videos", "new/y"]
    typed(run, *stored, "--out", tmp_path / "stored.jsonl", *asked)
    text = (tmp_path / "stored.jsonl").read_text()
    assert text.replace("new/", "") == (tmp_path / "made.jsonl").read_text()
    if scores:
        with np.load(tmp_path / "s.npz", allow_pickle=False) as found:
            assert found["x/times"].shape == (20, 2)
            assert ("x/queries" in found) == bool(asked)
            assert all(np.isfinite(found[key]).all() for key in found if "queries" not in key
                       and name != "natural_language_query")  # fmt: skip


@pytest.mark.parametrize(
    "trained", ["highlight_detection", "natural_language_query"], indirect=True
)
def test_queries_come_from_a_file_too_and_must_come(root, trained, tmp_path):
    _, run = trained
    store = [run, "--features", root / "f.zarr", "--videos", "x", "--out", tmp_path / "a.jsonl"]
    (tmp_path / "q.txt").write_text("the dog\n\n  the cat \n")
    typed(*store, "--query", "it", "--queries", tmp_path / "q.txt")
    answer = json.loads((tmp_path / "a.jsonl").read_text())
    assert [one["query"] for one in answer["queries"]] == ["it", "the dog", "the cat"]
    with pytest.raises(ConfigError, match="answers queries: give one or more with --query TEXT"):
        typed(*store)


@pytest.mark.parametrize("name", TASKS)
def test_a_part_of_the_validation_videos_is_scored_by_itself(root, tmp_path, monkeypatch, name):
    monkeypatch.setenv("PATH", "")
    lines = [line("seen/a", "train"), *(line(one, "val") for one in ("seen/b", "new/x", "new/y"))]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    config = config_of(name, root, tmp_path / "own.jsonl", evaluate_fraction=0.4)
    trainer = make_trainer(config, tmp_path / "run")
    (data,) = trainer.run.tasks
    task, part = data.watched
    videos = {sample.video_id for sample in task.samples("val")}
    assert videos == {sample.video_id for rows in part for sample in rows.samples}
    assert len(videos) == 2  # of three, rounded up
    trainer.train()
    whole = trainer.score_best()
    assert trainer.progress.scores.keys() == whole.keys()
    value = task.quality(trainer.progress.scores)
    assert value is None or 0 <= value <= 1
