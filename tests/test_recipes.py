"""Each recipe runs, shortened, on a small stand-in of its data set."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.full_size import DATASETS
from benchmarks.stand_ins.stand_in import Features, write_features
from extract.tools.presets import PRESETS
from tests.train.model import tiny_llms
from train.cli import train
from train.tasks import TASKS

RECIPES = Path(__file__).parent.parent / "recipes"

SHARES = {
    "epic100_online_action_detection": ("epic100", 0.002),
    "epic100_action_anticipation": ("epic100", 0.002),
    "breakfast_action_segmentation": ("breakfast", 0.005),
    "ego4d_moment_query": ("ego4d_mq_v1", 0.002),
    "ego4d_natural_language_query": ("ego4d_nlq_v1", 0.002),
    "ego4d_long_term_anticipation": ("ego4d_lta_v1", 0.002),
    "ego4d_online_captioning": ("ego4d_narrations_v1", 0.001),
    "qvhighlights_highlight_detection": ("qvhighlights", 0.002),
}
"""Recipe -> stand-in, and how much of it."""

FAMILIES = {
    "gpt2": "gpt2",
    "t5-base": "t5",
    "facebook/opt-125m": "opt",
    "facebook/opt-1.3b": "opt",
}


def test_there_is_a_recipe_for_every_task_and_no_other_file():
    recipes = {path.stem: tomllib.loads(path.read_text()) for path in RECIPES.iterdir()}
    assert recipes.keys() == SHARES.keys()
    assert {recipe["train"]["task"] for recipe in recipes.values()} == TASKS.keys()


def streams_of(settings):
    named = settings["stream"]
    return [named] if isinstance(named, str) else named


@pytest.mark.parametrize("name", SHARES)
def test_a_recipe_trains(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # without Java, captions are scored in no time
    monkeypatch.setattr(tiny_llms, "POSITIONS", 2048)
    path = RECIPES / f"{name}.toml"
    settings = tomllib.loads(path.read_text())["train"]
    dataset, share = SHARES[name]
    annotations = tmp_path / settings["annotations"]
    annotations.mkdir(parents=True)
    rng = np.random.default_rng(0)
    videos = DATASETS[dataset].write_annotations(annotations, share, rng)
    for stream in streams_of(settings):
        preset = PRESETS[stream]
        features = Features(
            name=stream,
            width=preset.dim,
            fps=preset.fps,
            window_frames=preset.window_frames,
            stride_frames=preset.stride_frames,
        )
        write_features(tmp_path / settings["features"], features, videos, rng)
    family = FAMILIES[settings["llm"]["name"]]
    llm = tiny_llms.save_tiny_tokenizer(tiny_llms.save_tiny_llm(family, tmp_path / "llm"))
    changes = {"train.llm.name": llm, "train.llm.dtype": "float32", "train.optim.epochs": 1}
    if settings["task"] == "online_captioning":
        changes["train.tasks.online_captioning.generator"] = llm
        changes["train.tasks.online_captioning.max_caption_tokens"] = 4
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(
        train, ["--config", str(path), "--device", "cpu", *words], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert (tmp_path / "runs" / settings["task"] / "1" / "report.html").exists()
