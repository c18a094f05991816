"""Training on several streams at once, and answering with what came of it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from cache_schema.errors import CheckpointError, ConfigError, RecipeMismatchError
from cache_schema.store import create_store, open_store
from cache_schema.testing import make_recipe, make_times, make_video
from tests.extract.tiny_models import write_model
from tests.train.runs import (
    UNCHANGED,
    VIDEOS,
    make_config,
    make_trainer,
    make_video_run,
    use_toy_task,
)
from train.config import DataConfig, TrainConfig
from train.data.window_draws import WindowDraws
from train.model.augment import FeatureAugment
from train.predict.load_run import load_run
from train.predict.trained_run import load_trained_run
from train.task import Window

CPU = torch.device("cpu")
DATA = DataConfig(window_rows=16, context_rows=4)


def add_second_stream(root):
    """Put a stream of one row a second beside the toy's two."""
    store = open_store(root / "f.zarr")
    with create_store(root / "f.zarr") as writer:
        second = writer.stream("second", make_recipe(encoder_id="second", fps=Fraction(1)), (3,))
        for name in store.streams["toy"].video_ids:
            num_rows = -(-store.streams["toy"].rows_of(name) // 2)
            second.append(np.random.default_rng(0).normal(size=(num_rows, 3)).astype(np.float16))
            second.commit(
                make_video(name, num_rows=num_rows, fps=Fraction(1)),
                make_times(num_rows, Fraction(1)),
            )


@pytest.fixture
def config(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    made = make_config(tmp_path, stream=("toy", "second", "toy:motion"))
    add_second_stream(tmp_path)
    return made


def test_a_run_learns_from_several_and_finds_them_again(config, tmp_path):
    trainer = make_trainer(config, tmp_path / "run")
    width = open_store(config.features).streams["toy"].row_shape[0]
    assert trainer.run.stream.row_shape == (2 * width + 3,)
    trainer.train()
    trained = load_trained_run(tmp_path / "run", CPU)
    assert [one.encoder.id for one in trained.checkpoint.recipe.stored] == ["toy", "second"]
    stream = trained.stream(tmp_path / "f.zarr")
    assert stream.name == "toy+second+toy:motion"
    answers = list(load_run(tmp_path / "run").predict(tmp_path / "f.zarr"))
    assert sorted(answer.video for answer in answers) == ["a", "b", "c", "d", "e"]


def test_a_run_that_was_cut_off_goes_on_with_the_same_streams(config, tmp_path):
    make_trainer(config, tmp_path / "run").train()
    resumed = load_trained_run(tmp_path / "run", CPU).checkpoint
    trainer = make_trainer(config, tmp_path / "run", resumed)
    assert trainer.run.stream.recipe == resumed.recipe


def test_a_store_that_lacks_one_of_them_is_refused(config, tmp_path):
    make_trainer(config, tmp_path / "run").train()
    (tmp_path / "other").mkdir()
    make_config(tmp_path / "other")
    with pytest.raises(RecipeMismatchError, match=r"encoder\.id = toy, not second"):
        list(load_run(tmp_path / "run").predict(tmp_path / "other" / "f.zarr"))


def test_a_run_of_one_stream_refuses_two(config, tmp_path):
    alone = replace(config, stream=("toy",))
    make_trainer(alone, tmp_path / "run").train()
    trained = load_trained_run(tmp_path / "run", CPU)
    with pytest.raises(RecipeMismatchError, match="trained on one stream"):
        trained.stream(tmp_path / "f.zarr", ["toy", "second"])


def test_rows_may_get_a_time_line_of_their_own(config, tmp_path):
    own = replace(config, data=replace(DATA, rows_per_second=Fraction(1)))
    trainer = make_trainer(own, tmp_path / "run")
    assert trainer.run.tasks[0].train[0].num_rows == 21  # of 41, at two a second
    trainer.train()
    assert load_trained_run(tmp_path / "run", CPU).stream(tmp_path / "f.zarr").rows_of("a") == 21


@pytest.mark.parametrize(
    ("given", "rate"), [(0, None), (2, Fraction(2)), ("30/16", Fraction(15, 8))]
)
def test_rates_are_numbers_or_fractions(given, rate):
    from cache_schema.parsing import parse

    data = {"rows_per_second": given}
    assert parse(DataConfig, data, where="x").rows_per_second == rate


def test_one_name_is_as_good_as_a_list():
    from cache_schema.parsing import parse

    assert parse(TrainConfig, {"stream": "clip"}, where="x").stream == ("clip",)
    assert parse(TrainConfig, {"stream": ""}, where="x").stream == ()


def test_streams_are_dropped_whole_and_never_all():
    augment = FeatureAugment(replace(UNCHANGED, stream_dropout=0.6), widths=[2, 3])
    windows = [Window(sample=0, start=0, stop=4, seed=seed) for seed in range(200)]
    kept = augment(torch.ones(200, 4, 5), WindowDraws(windows, CPU))
    first, second = kept[..., :2], kept[..., 2:]
    for part in (first, second):
        assert ((part == part[:, :1, :1]).all(dim=2).all(dim=1)).all()  # 0 or 1 as a whole
    both = first[:, 0, 0] + second[:, 0, 0]
    assert both.min() == 1
    # Of two that are dropped with 0.6 each, both stay with 0.16 + 0.36.
    assert 0.4 < (both == 2).float().mean() < 0.64


def test_videos_are_encoded_by_every_encoder_that_the_run_needs(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    clip = str(write_model(tmp_path, "clip")[0])
    run = make_video_run(tmp_path, ["fake", clip], stream=("fake", "tiny-clip"))
    answers = list(load_run(run).predict_videos(tmp_path / "videos"))
    assert sorted(answer.video for answer in answers) == sorted(VIDEOS)
    stored = {answer.video: answer for answer in load_run(run).predict(tmp_path / "f.zarr")}
    assert all(answer == stored[answer.video] for answer in answers)
    with pytest.raises(ConfigError, match="features are made by 2"):
        list(load_run(run).predict_videos(tmp_path / "videos", encoder="fake"))
    with pytest.raises(ConfigError, match="not made of live sources"):
        list(load_run(run).stream(tmp_path / "videos" / "a.mp4"))


def test_features_of_which_one_was_imported_cannot_be_made(config, tmp_path):
    make_trainer(config, tmp_path / "run").train()
    trained = load_trained_run(tmp_path / "run", CPU)
    recipe = trained.checkpoint.recipe
    parents = tuple(replace(one, origin="imported") for one in recipe.parents)
    changed = replace(trained.checkpoint, recipe=replace(recipe, parents=parents))
    trained = replace(trained, checkpoint=changed)
    with pytest.raises(CheckpointError, match="was trained on imported features"):
        trained.extracted_recipes()
