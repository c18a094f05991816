"""A run's folder is enough: what its heads must know is in the checkpoint."""

import json
import shutil

import numpy as np
import pytest
import torch

from cache_schema.errors import CheckpointError, ConfigError, RecipeMismatchError
from cache_schema.parsing import to_mapping
from tests.train.annotations.annotation_folders import breakfast_folder
from tests.train.runs import make_config, make_trainer, use_toy_task
from tests.train.toy import ToyTask, make_features
from train.answers.action_anticipation import AnticipationKnowledge
from train.answers.action_segmentation import SegmentationKnowledge
from train.answers.long_term_anticipation import FutureKnowledge
from train.answers.moment_query import MomentKnowledge
from train.answers.online_action_detection import DetectionKnowledge
from train.answers.online_captioning import CaptionKnowledge
from train.config import LlmConfig
from train.predict.trained_run import load_trained_run
from train.task import Nothing
from train.tasks import TASKS, load_answers

CPU = torch.device("cpu")
KNOWN = {
    "online_action_detection": DetectionKnowledge(class_names=("background", "çå 切る")),
    "action_anticipation": AnticipationKnowledge(class_names=("stir soup",)),
    "action_segmentation": SegmentationKnowledge(
        class_names=("SIL", "pour"), transcripts=(((0, 15), (1, 7)), ((1, 3),))
    ),
    "online_captioning": CaptionKnowledge(seconds=2.5),
    "long_term_anticipation": FutureKnowledge(
        verbs=("cut",), nouns=("egg",), transcripts=(((0, 0), (0, 0)),)
    ),
    "moment_query": MomentKnowledge(class_names=("cook",)),
    "natural_language_query": Nothing(),
    "highlight_detection": Nothing(),
}


@pytest.mark.parametrize("name", TASKS)
def test_what_a_head_must_know_survives_as_text(name):
    text = json.dumps(to_mapping(KNOWN[name]))
    answers = load_answers(name, json.loads(text), {}, where="best")
    assert answers.knowledge == KNOWN[name]
    assert answers.facts.name == name


def test_knowledge_that_is_not_the_task_s_is_a_damaged_checkpoint():
    with pytest.raises(CheckpointError, match="best: task moment_query: key 'class_names' is miss"):
        load_answers("moment_query", {}, {}, where="best")


@pytest.fixture
def segmentation(tmp_path):
    """A run of a real task whose annotations are gone."""
    annotations = tmp_path / "annotations"
    labels = {"a": ["SIL"] * 200 + ["pour"] * 100, "b": ["pour"] * 60, "d": ["SIL"] * 90}
    breakfast_folder(annotations, labels, train=["a", "b"], test=["d"])
    make_features(tmp_path / "f.zarr", ToyTask(train={"a": 41, "b": 9}, val={"d": 30}))
    config = make_config(
        tmp_path,
        task=("action_segmentation",),
        annotations=(str(annotations),),
        llm=LlmConfig(name="none"),
        tasks={"action_segmentation": {"next_weight": 0.5}},
    )
    make_trainer(config, tmp_path / "run").train()
    shutil.rmtree(annotations)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_a_copy_without_annotations_knows_its_classes_and_what_followed_what(segmentation):
    trained = load_trained_run(segmentation, CPU)
    assert trained.answers.knowledge == SegmentationKnowledge(
        class_names=("SIL", "pour", "stir"), transcripts=(((0, 200), (1, 100)), ((1, 60),))
    )
    assert trained.answers.options.next_weight == 0.5
    assert trained.answers.labels() == dict.fromkeys(("current", "next"), ("SIL", "pour", "stir"))
    with torch.inference_mode():
        rows, valid = torch.ones(1, 4, 6), torch.ones(1, 4, dtype=torch.bool)
        outputs = trained.model.eval()(rows, valid, "action_segmentation")
    assert {name: tuple(one.shape) for name, one in outputs.items()} == {
        "current": (1, 4, 3),
        "next": (1, 4, 3),
    }


def test_options_can_change_and_the_run_s_others_stay(segmentation):
    trained = load_trained_run(segmentation, CPU, options={"decoder": "two_head"})
    assert (trained.answers.options.decoder, trained.answers.options.next_weight) == (
        "two_head",
        0.5,
    )
    with pytest.raises(ConfigError, match=r"unknown key 'decodr'\. Did you mean 'decoder'"):
        _ = load_trained_run(segmentation, CPU, options={"decodr": "argmax"}).answers


def test_a_checkpoint_of_a_run_is_a_run(segmentation):
    trained = load_trained_run(segmentation / "checkpoint-last", CPU)
    assert trained.answers.labels()["current"] == ("SIL", "pour", "stir")


def test_a_checkpoint_without_knowledge_says_what_to_do(segmentation):
    for name in ("checkpoint-best", "checkpoint-last"):
        (segmentation / name / "knowledge.json").unlink()
    trained = load_trained_run(segmentation, CPU)
    assert trained.facts.name == "action_segmentation"
    for ask in (lambda: trained.answers, lambda: trained.model):
        with pytest.raises(
            CheckpointError, match=r"written by an earlier version .* Resume the run with --resume"
        ):
            ask()


@pytest.mark.parametrize("text", ['{"action_segm', "[]", '{"action_segmentation": 3}'])
def test_knowledge_that_cannot_be_read_is_a_damaged_checkpoint(segmentation, text):
    (segmentation / "checkpoint-best" / "knowledge.json").write_text(text)
    with pytest.raises(CheckpointError, match="checkpoint-best"):
        _ = load_trained_run(segmentation, CPU).answers


def test_annotations_that_number_the_classes_otherwise_are_refused(segmentation, tmp_path):
    other = tmp_path / "other"
    breakfast_folder(
        other, {"a": ["SIL"], "d": ["SIL"]}, train=["a"], test=["d"], classes=("SIL", "stir")
    )
    with pytest.raises(CheckpointError, match="the first that differs is number 1"):
        load_trained_run(segmentation, CPU).task(str(other))


@pytest.fixture
def toy_run(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    make_trainer(make_config(tmp_path, llm=LlmConfig(name="none")), tmp_path / "run").train()
    return tmp_path


def test_the_same_rows_give_the_same_outputs_as_in_training(toy_run, monkeypatch):
    monkeypatch.setattr(
        "train.predict.trained_run.load_task", lambda *_: pytest.fail("annotations were read")
    )
    config = make_config(toy_run, llm=LlmConfig(name="none"))
    trainer = make_trainer(config, toy_run / "again")
    trainer.train()
    trained = load_trained_run(toy_run / "again" / "checkpoint-last", CPU)
    values = torch.from_numpy(trained.stream(toy_run / "f.zarr").read("d").float32)[None]
    valid = torch.ones(values.shape[:2], dtype=torch.bool)
    with torch.inference_mode():
        expected, got = (
            model.eval()(values, valid, "toy")["current"]
            for model in (trainer.model, trained.model)
        )
    np.testing.assert_array_equal(got, expected)


def test_a_store_of_another_recipe_is_refused_by_field(toy_run):
    make_features(toy_run / "other.zarr", ToyTask(), encoder="other")
    with pytest.raises(RecipeMismatchError, match=r"encoder\.id = other, not toy"):
        load_trained_run(toy_run / "run", CPU).stream(toy_run / "other.zarr")


def test_a_task_that_was_not_learned_is_named(toy_run):
    with pytest.raises(ConfigError, match=r"has not learned task 'toi'\. Did you mean 'toy'"):
        load_trained_run(toy_run / "run", CPU, task_name="toi")
