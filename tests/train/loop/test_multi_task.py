"""Several tasks on one translator and one LLM."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from cache_schema.errors import ConfigError
from tests.train.runs import make_config, make_trainer, use_tasks
from tests.train.toy import CLASSES, ToyAnswers, ToyTask, labels_of
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import LAST
from train.config import TrainConfig
from train.loop.validation import joined, main_metrics
from train.predict.ensemble import open_runs
from train.run import train


class Shifted(ToyTask):
    """The same rows with every class one further."""

    def targets(self, sample, times_R2, window):
        labels = (labels_of(sample.video_id, len(times_R2)) + 1) % CLASSES
        return {"current": window.without_context(labels[window.start : window.stop])}

    def score(self, predictions):
        predicted = json.loads(predictions.read_text())
        hits = [
            (one - labels_of(name, len(classes))[place]) % CLASSES == 1
            for name, classes in predicted.items()
            for place, one in enumerate(classes)
        ]
        return {"accuracy": 100 * sum(hits) / len(hits)}


@pytest.fixture(autouse=True)
def tasks(monkeypatch):
    shifted = Shifted(answers=ToyAnswers(name="shifted"))
    made = {"toy": ToyTask(), "shifted": shifted}
    use_tasks(monkeypatch, made)
    return made


def config_of_two(root, **settings):
    names = {"task": ("toy", "shifted"), "annotations": ("none", "none")}
    return make_config(root, **names, **settings)


def test_two_tasks_learn_on_one_llm_and_are_scored_each(tmp_path):
    config = config_of_two(tmp_path)
    report = train(replace(config, optim=replace(config.optim, epochs=15)), resume=False).to_json()
    assert report["metrics"].keys() == {"toy/accuracy", "toy/undefined", "shifted/accuracy"}
    assert report["metrics"]["toy/accuracy"] > 70
    assert report["metrics"]["shifted/accuracy"] > 70
    assert report["baselines"]["majority"] == {"toy/accuracy": 40.0, "shifted/accuracy": 40.0}
    tensors = load_file(tmp_path / "run" / LAST / "model.safetensors")
    assert {name.split(".")[1] for name in tensors if name.startswith("heads.")} == {
        "toy",
        "shifted",
    }


def test_a_weight_adds_steps_of_its_task(tmp_path):
    once = make_trainer(config_of_two(tmp_path), tmp_path / "a")
    twice = make_trainer(config_of_two(tmp_path, weights={"shifted": 2.0}), tmp_path / "b")
    assert once.steps_per_epoch == 3 + 3
    assert twice.steps_per_epoch == 3 + 5  # 5 crops, 2 a step


def test_a_resumed_run_of_two_tasks_repeats_the_uninterrupted_one(tmp_path):
    config = config_of_two(tmp_path, checkpoint_steps=1)
    whole = make_trainer(config, tmp_path / "whole")
    whole.train()
    cut = make_trainer(config, tmp_path / "cut")
    save = cut._pause_inside_epoch

    def dying(log):
        save(log)
        if cut.progress.step == 4:
            raise InterruptedError

    cut._pause_inside_epoch = dying
    with pytest.raises(InterruptedError):
        cut.train()
    resumed = make_trainer(config, tmp_path / "cut", read_checkpoint(tmp_path / "cut" / LAST)[0])
    resumed.restore()
    resumed.train()
    left, right = (
        load_file(tmp_path / name / LAST / "model.safetensors") for name in ("cut", "whole")
    )
    assert all(torch.equal(left[name], right[name]) for name in right)


def test_the_best_epoch_is_that_of_the_mean_quality(tmp_path, monkeypatch):
    monkeypatch.setattr(Shifted, "quality", lambda self, scores: 0.5)
    monkeypatch.setattr(ToyTask, "quality", lambda self, scores: 1.0)
    trainer = make_trainer(config_of_two(tmp_path), tmp_path / "run")
    trainer.train()
    assert trainer.progress.best_value == 0.75


def test_prediction_asks_which_task_is_meant(tmp_path):
    trainer = make_trainer(config_of_two(tmp_path), tmp_path / "run")
    trainer.train()

    def predict(task_name):
        return open_runs([tmp_path / "run"], device="cpu", task_name=task_name, options={})

    assert predict("shifted").facts.name == "shifted"
    with pytest.raises(ConfigError, match=r"has learned toy, shifted\. Choose with --task"):
        predict("")
    with pytest.raises(ConfigError, match=r"not learned task 'shiftd'\. Did you mean 'shifted'"):
        predict("shiftd")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": ["a", "a"]}, "task names one of a, a twice"),
        ({"task": ["a"], "weights": {"b": 1.0}}, "weights names 'b', which is none of the run's"),
    ],
)
def test_wrong_lists_of_tasks_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


def test_scores_of_one_task_keep_their_names():
    assert joined({"a": {"x": 1.0}}) == {"x": 1.0}
    assert joined({"a": {"x": 1.0}, "b": {"x": None}}) == {"a/x": 1.0, "b/x": None}


def test_the_main_metrics_of_several_tasks_have_their_names_in_joined_scores(tasks):
    scores = {"toy": {"accuracy": 1.0, "other": 2.0}, "shifted": {"accuracy": 3.0}}
    names = main_metrics(tasks.values())
    assert [name for name in joined(scores) if name in names] == [
        "toy/accuracy",
        "shifted/accuracy",
    ]
    assert [name for name in joined({"toy": scores["toy"]}) if name in names] == ["accuracy"]
