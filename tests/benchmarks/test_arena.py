import json

import numpy as np
import pytest

from benchmarks.arena_bootstrap import VideoScores, difference
from benchmarks.arena_decoders import COMPARED
from benchmarks.arena_splits import INNER, splits_of
from benchmarks.arena_variants import FIXED, OF_ALL, VARIANTS, draw, flags_of, overrides_of
from benchmarks.fifty_salads import RECIPE, pairs_of, prepare, runs_of
from cache_schema.settings import load_settings
from train.config import TrainConfig
from train.metrics.segmental import LabelPair, segmental_scores


def test_what_variants_share_is_drawn_alike():
    for number in range(4):
        draws = [draw(variant, number) for variant in ("llm", "gru", "causal_tcn")]
        for key in OF_ALL:
            assert len({one[key] for one in draws}) == 1
    assert len({json.dumps(draw("gru", number)) for number in range(6)}) == 6


def test_the_first_draw_for_the_llm_is_the_recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    first = [f"{key}={value}" for key, value in draw("llm", 0).items()]
    drawn = load_settings(TrainConfig, "train", config_path=path, overrides=first)
    assert drawn == load_settings(TrainConfig, "train", config_path=path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_of_a_variant_are_settings_of_a_run(variant, tmp_path):
    overrides = [*FIXED[variant], *(f"{key}={value}" for key, value in draw(variant, 1).items())]
    config = load_settings(TrainConfig, "train", overrides=overrides, flags={})
    assert config.optim.epochs == draw(variant, 1)["train.optim.epochs"]
    words = flags_of(variant, tmp_path, draw(variant, 1))
    assert words[1::2] == overrides_of(variant, tmp_path, draw(variant, 1))
    own = [word for word in words if str(tmp_path) in word]
    assert len(own) == (variant == "transformer_scratch")


def write_scores(folder, videos):
    """Write per-second scores of videos, each with its test fold, in the arena's layout."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for video in videos:
        labels = np.repeat([0, 1, 2, 1], 5).astype(np.int16)
        features = rng.normal(size=(20, 3)).astype(np.float32)
        np.savez(folder / f"{video}.npz", features=features, labels=labels)
    (folder / "classes.json").write_text(json.dumps(["background", "cut", "stir"]))
    lines = "".join(f"{video},{fold}\n" for video, fold in videos.items())
    (folder / "manifest.csv").write_text(f"video,test_split\n{lines}")


def test_inside_a_fold_the_next_one_is_held_out():
    folds = {f"v{number}": number % 3 for number in range(12)}
    splits = splits_of(folds)
    assert splits[0][1] == [video for video in folds if folds[video] == 0]
    learned, held_out = splits[INNER + 2]
    assert {folds[video] for video in learned} == {1}
    assert {folds[video] for video in held_out} == {0}
    assert len(learned) == len(held_out) == 4


def test_of_two_folds_some_training_videos_are_held_out():
    folds = {f"v{number}": number % 2 for number in range(12)}
    learned, held_out = splits_of(folds)[INNER + 1]
    assert {*learned, *held_out} == {video for video in folds if folds[video] == 0}
    assert len(held_out) == 2
    assert not {*learned} & {*held_out}


def test_splits_are_written_as_they_are(tmp_path):
    folds = {f"v{number}": number % 3 for number in range(12)}
    write_scores(tmp_path / "scores", folds)
    prepare.callback(tmp_path / "scores", tmp_path / "out")
    bundles = tmp_path / "out" / "labels" / "splits"
    for number, split in splits_of(folds).items():
        for kind, videos in zip(("train", "test"), split, strict=True):
            lines = (bundles / f"{kind}.split{number}.bundle").read_text().splitlines()
            assert lines == [f"{video}.txt" for video in videos]


def test_runs_are_compared_video_by_video(tmp_path):
    write_scores(tmp_path / "scores", {"a": 1, "b": 2})
    out = tmp_path / "out"
    prepare.callback(tmp_path / "scores", out)
    for name, wrong in (("good-seed0", 0), ("bad-seed0", 10)):
        for fold, video in ((1, "a"), (2, "b")):
            folder = out / "runs" / name / f"fold{fold}/predictions/val/action_segmentation"
            folder.mkdir(parents=True)
            lines = (out / "labels" / "groundTruth" / f"{video}.txt").read_text().splitlines()
            lines[:wrong] = ["stir"] * wrong
            (folder / f"{video}.txt").write_text("".join(f"{line}\n" for line in lines))
    assert pairs_of(out, "good-seed0").keys() == {"a", "b"}
    good, bad = (runs_of(out, name) for name in ("good", "bad"))
    found = difference(good, bad)["Acc_video_mean"]
    assert (found.own, found.low, found.high) == (50, 50, 50)  # half of the seconds of each


def test_scores_of_drawn_videos_are_those_of_the_metric():
    rng = np.random.default_rng(0)
    pairs = [
        LabelPair(truth_F=truth_F, predicted_F=np.where(rng.random(60) < 0.8, truth_F, 1))
        for truth_F in (np.repeat(rng.integers(4, size=12), 5) for _ in range(6))
    ]
    drawn = [0, 0, 3, 5, 5, 5]
    expected = segmental_scores([pairs[number] for number in drawn], background=0)
    counts_DV = np.bincount(drawn, minlength=6)[None]
    found_DK = VideoScores.of(pairs).of_draws(counts_DV)
    assert found_DK[0] == pytest.approx([expected[key] for key in COMPARED])


def test_videos_of_one_source_are_drawn_together():
    truth_F = np.repeat([1, 2], 10)
    # Of the first source one view is wrong throughout and one right, of the second both are right.
    said = {"a1": 3 - truth_F, "a2": truth_F, "b1": truth_F, "b2": truth_F}
    first = {name: LabelPair(truth_F=truth_F, predicted_F=one) for name, one in said.items()}
    right = {name: LabelPair(truth_F=truth_F, predicted_F=truth_F) for name in said}
    by_source = difference([first], [right], lambda video: video[0])["Acc_video_mean"]
    assert (by_source.own, by_source.low, by_source.high) == (-25, -50, 0)
    by_video = difference([first], [right])["Acc_video_mean"]
    assert by_video.low == -75
