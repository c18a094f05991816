from dataclasses import replace

import pytest

from cache_schema.errors import ConfigError
from cache_schema.parsing import differences
from cache_schema.settings import load_settings
from train.config import PLACES, LlmConfig, OptimConfig, TrainConfig, require_inputs, runs_folder


def load(tmp_path, text="", **sources):
    path = tmp_path / "pipeline.toml"
    path.write_text(text)
    return load_settings(TrainConfig, "train", config_path=path, **sources)


def test_flags_win_over_set_over_file_over_defaults(tmp_path):
    text = "[train.optim]\nlr = 0.1\nepochs = 3\nbatch_size = 2"
    config = load(
        tmp_path,
        text,
        overrides=["train.optim.epochs=4", "train.optim.batch_size=5"],
        flags={"optim.batch_size": 6, "optim.lr": None},
    )
    optim = config.optim
    assert (optim.lr, optim.epochs, optim.batch_size, optim.clip_norm) == (0.1, 4, 6, 1.0)


def test_options_of_a_task_pass_through(tmp_path):
    config = load(tmp_path, "[train.tasks.action_segmentation]\nsplit = 2")
    assert config.tasks == {"action_segmentation": {"split": 2}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[train.optim]\nlerning_rate = 1.0", "unknown key 'lerning_rate'"),
        ("[train.optim]\nepochs = 0", "key 'epochs' is 0"),
        ("[train.llm]\nweights = 'none'", "'pretrained' or 'random'"),
        ("[train.data]\nwindow_rows = 8\ncontext_rows = 8", r"must be below window_rows \(8\)"),
        ("[train.data]\nholdout_fraction = 1.0", "key 'holdout_fraction' is 1.0"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, text)


def test_missing_inputs_are_named_as_flags():
    config = TrainConfig(features="f.zarr")
    with pytest.raises(ConfigError, match=r"needs --task, --annotations: give the flag"):
        require_inputs(config)
    with pytest.raises(ConfigError, match=r"needs --task: give the flag"):
        require_inputs(replace(config, annotations="x"))
    require_inputs(replace(config, task="toy", annotations="x"))


def test_each_task_has_its_annotations(tmp_path):
    with pytest.raises(ConfigError, match="2 tasks and 1 annotations are given; give one"):
        load(tmp_path, "[train]\ntask = ['a', 'b']\nannotations = 'x'")


def test_a_run_lies_below_runs_unless_told():
    assert str(runs_folder(TrainConfig(task=["a", "b"]))) == "runs/a+b"
    assert str(runs_folder(TrainConfig(task="toy"))) == "runs/toy"


def test_differences_leave_out_where_things_lie():
    saved = TrainConfig(task="toy", features="a.zarr", out="x")
    given = replace(saved, features="b.zarr", out="y", llm=LlmConfig(num_layers=4))
    assert differences(saved, given, ignore=PLACES) == ["llm.num_layers = auto, not 4"]


@pytest.mark.parametrize(
    ("num_windows", "expected"), [(1, 1), (63, 1), (64, 2), (255, 7), (9000, 8)]
)
def test_of_few_windows_few_make_a_step(num_windows, expected):
    assert OptimConfig().training_batch(num_windows) == expected
    assert OptimConfig(batch_size=5).training_batch(num_windows) == 5


def test_evaluation_takes_the_batches_of_large_sets():
    assert OptimConfig().evaluation_batch == 8
    assert OptimConfig(batch_size=5).evaluation_batch == 5
    assert OptimConfig(batch_size=5, micro_batch_size=2).evaluation_batch == 2
