"""A task of another package: what it must be, and whose its errors are."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cache_schema import ConfigError, PipelineError, RowWriter, imported_recipe
from tests.docs_blocks import blocks_of
from tests.packages import install
from train import Answer, HeadContext, States
from train.config import LlmConfig, OptimConfig, TrainConfig
from train.run import train
from train.tasks import load_task, task_class

(DISH,) = (block.text for block in blocks_of("extending.md") if block.file == "dish.py")
PROJECT = {
    "name": "dish-task",
    "version": "1.0",
    "entry-points": {"video_feature_llm.tasks": {"dish": "dish:DishTask"}},
}
WHOSE = r"task 'dish' of the package dish-task 1\.0 \(dish:DishTask\): "


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """A function that installs the package with some other text of its module."""
    monkeypatch.chdir(tmp_path)
    Path("dishes.csv").write_text("video,subset,dish\na,train,soup\nb,val,tea\n")

    def offer(text):
        Path("dish.py").write_text(text)
        install(PROJECT, tmp_path, monkeypatch)

    return offer


def load():
    return load_task("dish", Path("dishes.csv"), {})


def head():
    context = HeadContext(width=4, llm=None, device=torch.device("cpu"), seed=0)
    return load().answers.build_head(context)


def states():
    rows_BTE = torch.zeros(1, 2, 4)
    valid_BT = torch.ones(1, 2, dtype=torch.bool)
    return States(rows_BTE=rows_BTE, valid_BT=valid_BT, final_BSE=rows_BTE[:, :1], targets={})


USES = {
    "open": load,
    "answers": lambda: load().answers,
    "samples": lambda: load().samples("train"),
    "targets": lambda: load().targets(None, None, None),
    "loss": lambda: load().loss({}, {}),
    "write_predictions": lambda: load().write_predictions([], Path("out.json")),
    "score": lambda: load().score(Path("out.json")),
    "labels": lambda: load().answers.labels(),
    "build_head": head,
    "forward": lambda: head()(states()),
    "answer": lambda: load().answers.answer([], []),
}


def failing_in(member):
    first_line = rf"(    def {member}\(.*\):\n)"
    text, count = re.subn(first_line, r"\1        raise ValueError('no soup')\n", DISH)
    assert count == 1
    return text


def said_of(member):
    return rf"^{WHOSE}failed in .*{member} \(dish\.py, line \d+\): ValueError: no soup\."


@pytest.mark.parametrize("member", USES)
def test_an_error_in_a_task_of_others_says_whose_it_is(offer, member):
    offer(failing_in(member))
    with pytest.raises(PipelineError, match=said_of(member)):
        USES[member]()


@pytest.mark.parametrize("member", ["targets", "forward", "loss", "answer", "score"])
def test_a_training_says_whose_the_error_is_that_ends_it(offer, member):
    offer(failing_in(member))
    with RowWriter("f.zarr", imported_recipe("toy", fps=2)) as writer:
        for name in ("a", "b"):
            writer.write(name, np.eye(4, dtype=np.float32))
    config = TrainConfig(
        task=("dish",),
        annotations=("dishes.csv",),
        features="f.zarr",
        out="run",
        device="cpu",
        llm=LlmConfig(name="none"),
        optim=OptimConfig(epochs=1),
    )
    with pytest.raises(PipelineError, match=said_of(member)):
        train(config, resume=False)


def test_an_error_in_the_making_of_outputs_is_not_theirs(offer):
    offer(DISH)

    def outputs():
        raise RuntimeError("out of memory")
        yield

    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        load().write_predictions(outputs(), Path("out.json"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class DishTask(Task)", "class DishTask", "the class is DishTask, expected a class made"),
        ("    def loss(", "    def lost(", "DishTask lacks loss"),
        ("    def labels(", "    def label(", "DishAnswers lacks labels"),
        ("    facts =", "    fact =", "DishAnswers lacks facts"),
        ("answers_type = DishAnswers", "answers_type = Knowledge", "answers_type is Knowledge"),
        ("answers_type = DishAnswers", "", "DishTask lacks answers_type"),
        ('TaskFacts(name="dish"', 'dict(name="dish"', "facts is dict, expected train.TaskFacts"),
        ('name="dish"', 'name="fish"', "name it 'fish', expected the entry point's name"),
        ("import csv", "import cvs", "cannot be imported .*No module named 'cvs'"),
    ],
)
def test_what_a_task_of_others_lacks_is_told_before_it_is_used(offer, old, new, said):
    assert old in DISH
    offer(DISH.replace(old, new, 1))
    with pytest.raises(ConfigError, match=WHOSE + ".*" + said):
        task_class("dish")


def test_a_whole_task_of_others_keeps_its_name_and_makes_its_own_answers(offer):
    offer(DISH)
    task = load()
    assert type(task).__name__ == "DishTask"
    assert task.answers is task.answers
    assert type(task.answers) is type(task).answers_type
    assert head()(states())["dish"].shape == (1, 1, 2)
    assert task.baselines(Path("none")) == {}


def truth_that(line):
    return f"\n    def truth(self, sample):\n        {line}\n"


SAYS_NOTHING = truth_that('return Answer(video=sample.video_id, task="dish", duration=0.0)')


def true_of_the_sample():
    task = load()
    (sample,) = task.samples("val")
    return task.truth(sample)


def test_what_a_task_of_others_knows_to_be_true_is_told(offer):
    offer(DISH + SAYS_NOTHING)
    assert true_of_the_sample() == Answer(video="b", task="dish", duration=0.0)


def test_a_task_of_others_need_not_say_what_is_true(offer):
    offer(DISH)
    assert true_of_the_sample() is None


def test_an_error_in_the_truth_of_others_says_whose_it_is(offer):
    offer(DISH + truth_that("raise ValueError('no soup')"))
    with pytest.raises(PipelineError, match=said_of("truth")):
        true_of_the_sample()
