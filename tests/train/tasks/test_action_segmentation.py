import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.annotations.annotation_folders import breakfast_folder, write
from tests.train.outputs import head_context, output_of, states_of, targets_of
from train.answer import Answer, Segment
from train.task import IGNORED, Window
from train.tasks import load_task

SIL, POUR, STIR = range(3)
TRAIN = {"t": ["stir"] * 5 + ["SIL"] * 3}
TEST = {"a": ["SIL"] * 2 + ["pour"] * 4, "b": ["stir"] * 3 + ["pour"] * 3}


@pytest.fixture
def folder(tmp_path):
    return breakfast_folder(tmp_path / "bf", TRAIN | TEST, train=list(TRAIN), test=list(TEST))


@pytest.fixture
def task(folder):
    return load_task("action_segmentation", folder, {"label_fps": 2})


def rows(num_rows, rows_per_second, window_seconds=None):
    starts = np.arange(num_rows) / rows_per_second
    return np.stack([starts, starts + (window_seconds or 1 / rows_per_second)], axis=1)


def one_hot(classes):
    return {"current": np.eye(3, dtype=np.float32)[classes]}


def predict(task, folder, times, classes):
    outputs = [
        output_of(sample, times, **one_hot(classes[sample.video_id]))
        for sample in task.samples("val")
    ]
    task.write_predictions(outputs, folder / "predictions")
    return folder / "predictions"


def test_a_sample_is_a_whole_video_and_its_frame_classes(task):
    (sample,) = task.samples("train")
    assert (sample.video_id, sample.start_seconds, sample.end_seconds) == ("t", 0.0, math.inf)
    assert sample.target.tolist() == [STIR] * 5 + [SIL] * 3
    assert [one.video_id for one in task.samples("val")] == ["a", "b"]


@pytest.mark.parametrize("rows_per_second", [1, 2, 4, 15])
def test_a_row_learns_the_label_frame_at_its_centre(folder, rows_per_second):
    task = load_task("action_segmentation", folder, {"label_fps": 15})
    sample = task.samples("val")[1]
    targets = targets_of(task, sample, rows(10, rows_per_second))["current"]
    exact = [math.floor(Fraction(2 * i + 1, 2 * rows_per_second) * 15) for i in range(10)]
    labels = [STIR] * 3 + [POUR] * 3
    assert targets.tolist() == [labels[i] if i < 6 else IGNORED for i in exact]


def test_a_window_learns_the_next_row_beyond_its_end(folder):
    task = load_task("action_segmentation", folder, {"label_fps": 2, "next_weight": 0.5})
    sample, times = task.samples("val")[1], rows(6, 2)
    part = task.targets(sample, times, Window(sample=0, start=1, stop=5, num_context=1))
    assert part["current"].tolist() == [IGNORED, STIR, POUR, POUR]
    assert part["next"].tolist() == [IGNORED, POUR, POUR, POUR]
    assert targets_of(task, sample, times)["next"].tolist()[-1] == IGNORED


def test_a_centre_on_a_frames_start_belongs_to_that_frame(folder):
    task = load_task("action_segmentation", folder, {"label_fps": 15})
    times = rows(30, 7.5) % 0.4  # centres at k/15 s, some a rounding error below
    targets = targets_of(task, task.samples("val")[0], times[:3])["current"]
    assert targets.tolist() == [SIL, POUR, POUR]


def test_the_truth_is_the_runs_of_label_frames(task):
    assert task.truth(task.samples("val")[0]) == Answer(
        video="a",
        task="action_segmentation",
        duration=3.0,
        segments=(
            Segment(start=0.0, end=1.0, label="SIL", score=1.0),
            Segment(start=1.0, end=3.0, label="pour", score=1.0),
        ),
    )


def test_every_frame_gets_the_row_over_its_middle(folder):
    task = load_task("action_segmentation", folder, {"label_fps": 2, "decoder": "argmax"})
    path = predict(task, folder, rows(3, 1), {"a": [SIL, POUR, POUR], "b": [STIR, STIR, POUR]})
    assert (path / "a.txt").read_text() == "SIL\nSIL\npour\npour\npour\npour\n"
    assert (path / "b.txt").read_text() == "stir\nstir\nstir\nstir\npour\npour\n"
    assert task.score(path)["Acc"] == pytest.approx(100 * 11 / 12)


def test_targets_given_back_as_scores_are_a_perfect_prediction(task, folder):
    times = rows(12, 4)
    classes = {
        sample.video_id: targets_of(task, sample, times)["current"]
        for sample in task.samples("val")
    }
    scores = task.score(predict(task, folder, times, classes))
    assert set(scores.values()) == {100.0}


def test_test_videos_without_outputs_get_the_first_class(task, folder):
    sample, _ = task.samples("val")
    output = output_of(sample, rows(3, 1), **one_hot([POUR] * 3))
    task.write_predictions([output], folder / "predictions")
    assert (folder / "predictions" / "b.txt").read_text() == "SIL\n" * 6


def test_predictions_of_training_videos_are_written_alone(task, folder):
    (sample,) = task.samples("train")
    task.write_predictions([output_of(sample, rows(4, 1), **one_hot([STIR] * 4))], folder / "p")
    assert [path.name for path in (folder / "p").iterdir()] == ["t.txt"]


def test_the_head_is_one_linear_layer_and_the_loss_is_cross_entropy(task):
    head = task.answers.build_head(head_context(8))
    assert sum(one.numel() for one in head.parameters()) == (8 + 1) * 3
    logits = head(states_of(torch.zeros(1, 2, 8)))
    loss = task.loss(logits, {"current": torch.tensor([[STIR, IGNORED]])})
    assert loss.num_targets == 1
    assert loss.total.item() == pytest.approx(-logits["current"][0, 0].log_softmax(0)[STIR].item())


def test_the_smoothing_weight_adds_the_truncated_mse(folder):
    logits = {"current": torch.tensor([[[0.0, 0.0, 0.0], [0.0, 3.0, 1.0]]])}
    targets = {"current": torch.tensor([[0, 1]])}
    totals = [
        load_task("action_segmentation", folder, {"smoothing_weight": weight})
        .loss(logits, targets)
        .total.item()
        for weight in (0.0, 0.15)
    ]
    steps = logits["current"][0].log_softmax(-1).diff(dim=0).square().mean().item()
    assert totals[1] - totals[0] == pytest.approx(0.15 * steps, rel=1e-5)


def test_chance_and_majority_are_scored_by_the_same_rules(task, folder):
    scores = task.baselines(folder / "out")
    assert (folder / "out" / "majority" / "a.txt").read_text() == "stir\n" * 6
    assert scores["majority"] == task.score(folder / "out" / "majority")
    assert scores["majority"]["Acc"] == pytest.approx(100 * 3 / 12)
    assert scores["chance"] == task.baselines(folder / "again")["chance"]
    assert task.main_metric in scores["chance"]


def test_another_split_is_chosen_by_option(folder):
    write(folder / "splits" / "test.split2.bundle", "t.txt")
    task = load_task("action_segmentation", folder, {"split": 2})
    assert [sample.video_id for sample in task.samples("val")] == ["t"]


def test_predictions_beyond_the_split_must_cover_all_splits(folder):
    write(folder / "splits" / "test.split2.bundle", "t.txt")
    for video, labels in (TRAIN | TEST).items():
        write(folder / "p" / f"{video}.txt", *labels)
    task = load_task("action_segmentation", folder, {})
    assert task.score(folder / "p")["mean_of_splits_Edit"] == 100.0
    (folder / "p" / "b.txt").unlink()
    with pytest.raises(AnnotationError, match="1 of 2 videos of test split 1 have no prediction"):
        task.score(folder / "p")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_fps": 0}, "label_fps is 0, must be positive"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1\.0, must be in \[0, 1\)"),
        ({"smoothing_weight": -1.0}, "smoothing_weight is -1.0, must not be negative"),
        ({"decoder": "beam"}, "key 'decoder' is 'beam'"),
        ({"spilt": 1}, "unknown key 'spilt'. Did you mean 'split'"),
    ],
)
def test_wrong_options_are_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        load_task("action_segmentation", folder, options)
