import json
from statistics import mean

import pytest
import torch

from tests.train.annotations.annotation_folders import breakfast_folder
from tests.train.runs import make_config
from tests.train.toy import ToyTask, make_features
from train.answers.action_segmentation import CHOICE, CHOSEN_BY, Decoding
from train.checkpoints.folder import BEST, LAST, read_record
from train.config import DataConfig, LlmConfig
from train.predict.trained_run import load_trained_run
from train.run import train

NAME = "action_segmentation"
LABELS = {
    "a": ["SIL"] * 200 + ["pour"] * 100,
    "b": ["pour"] * 60,
    "c": ["SIL"] * 100 + ["pour"] * 80,
    "d": ["SIL"] * 90,
}
WINDOWS = {"window_rows": 16, "context_rows": 4}


def config_of(root, *, selection="val", **options):
    if not (root / "labels").exists():
        breakfast_folder(root / "labels", LABELS, train=["a", "b", "c"], test=["d"])
        make_features(root / "f.zarr", ToyTask(train={"a": 41, "b": 9, "c": 25}, val={"d": 30}))
    return make_config(
        root,
        task=(NAME,),
        annotations=(str(root / "labels"),),
        llm=LlmConfig(name="none"),
        data=DataConfig(**WINDOWS, selection=selection, holdout_fraction=0.4),
        tasks={NAME: options},
    )


def decoding_kept(root, name):
    known = json.loads((root / "run" / name / "knowledge.json").read_text())
    return known[NAME]["decoding"]


@pytest.mark.parametrize("selection", ["val", "holdout"])
def test_what_picked_the_best_epoch_chooses_and_the_choice_is_kept(tmp_path, selection):
    report = train(config_of(tmp_path, selection=selection), resume=False)
    kept = decoding_kept(tmp_path, BEST)
    assert Decoding(**kept) in CHOICE
    best = read_record(tmp_path / "run" / BEST).progress.best_value
    assert 0 < best < 1  # of held-out videos, too: no loss
    assert decoding_kept(tmp_path, LAST) == kept
    trained = load_trained_run(tmp_path / "run", torch.device("cpu"))
    assert trained.answers.decoding == trained.task("").answers.decoding == Decoding(**kept)
    again = train(config_of(tmp_path, selection=selection), resume=True)
    assert decoding_kept(tmp_path, BEST) == kept
    assert again.metrics == report.metrics


def test_the_scores_are_those_of_the_choice(tmp_path):
    chosen = train(config_of(tmp_path), resume=False).metrics
    by_choice = {}
    for one in CHOICE:
        (tmp_path / "run").rename(tmp_path / f"run-{len(by_choice)}")
        options = {"decoder": one.decoder, "filter_weight": one.filter_weight}
        by_choice[one] = train(config_of(tmp_path, **options), resume=False).metrics
        assert decoding_kept(tmp_path, BEST) is None
    means = [mean(scores[key] for key in CHOSEN_BY) for scores in by_choice.values()]
    assert mean(chosen[key] for key in CHOSEN_BY) == max(means) > min(means)


def test_where_the_last_epoch_counts_nothing_was_held_out_to_choose_by(tmp_path):
    train(config_of(tmp_path, selection="last"), resume=False)
    assert decoding_kept(tmp_path, BEST) is None
