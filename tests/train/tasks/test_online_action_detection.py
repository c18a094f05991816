import numpy as np
import pytest
import torch

from cache_schema.errors import AnnotationError
from tests.train.annotations.annotation_folders import epic_folder, epic_row, write
from tests.train.outputs import head_context, output_of, targets_of
from train.answer import Answer, Segment
from train.task import IGNORED, Window
from train.tasks import load_task

TRAIN = [
    epic_row("t0", "00.00", "01.00", 3, 10, video="P03_01"),
    epic_row("t1", "01.00", "01.50", 3, 2, video="P03_01"),
]
VAL = [
    epic_row("v0", "00.25", "01.30", 3, 10),  # cells 1-5
    epic_row("v1", "01.00", "01.50", 3, 2),  # cells 4-5
    epic_row("w0", "00.00", "00.50", 5, 2, video="P02_01"),  # cells 0-1
]
CUT_PAN, CUT_EGG, MIX_PAN = 1, 2, 3  # columns of (3, 2), (3, 10), (5, 2)


@pytest.fixture
def folder(tmp_path):
    return epic_folder(tmp_path, train=TRAIN, val=VAL)


@pytest.fixture
def task(folder):
    return load_task("online_action_detection", folder, {})


def rows(num_rows, rows_per_second):
    starts = np.arange(num_rows) / rows_per_second
    return np.stack([starts, starts + 1 / rows_per_second], axis=1)


def submission(task, folder, outputs):
    task.write_predictions(outputs, folder / "p.npz")
    with np.load(folder / "p.npz") as arrays:
        return dict(arrays)


def test_cells_run_from_floor_to_ceil_and_the_lowest_class_wins(task):
    second, first = task.samples("val")[::-1]
    assert first.video_id == "P01_01"
    assert first.target.labels_F.tolist() == [0, CUT_EGG, CUT_EGG, CUT_EGG, CUT_PAN, CUT_PAN]
    assert second.target.labels_F.tolist() == [MIX_PAN, MIX_PAN]


def test_videos_without_actions_are_samples_too(folder):
    write(folder / "video_lengths.csv", "video_id,num_frames", "P01_01,8", "P02_01,4", "P09_01,3")
    task = load_task("online_action_detection", folder, {})
    assert [sample.video_id for sample in task.samples("val")] == ["P01_01", "P02_01", "P09_01"]
    assert task.samples("val")[2].target.labels_F.tolist() == []
    targets = targets_of(task, task.samples("val")[2], rows(2, 1))
    assert targets["current"].tolist() == [IGNORED, IGNORED]


def test_a_window_learns_what_all_rows_do_except_of_its_context(task):
    sample, times = task.samples("val")[0], rows(8, 4)
    whole = targets_of(task, sample, times)
    part = task.targets(sample, times, Window(sample=0, start=1, stop=5, num_context=2))
    for name, values in whole.items():
        assert part[name].tolist() == [IGNORED] * 2 + values[3:5].tolist()


@pytest.mark.parametrize(
    ("rows_per_second", "expected"),
    [
        (1, [CUT_EGG, IGNORED]),
        (2, [CUT_EGG, CUT_EGG, CUT_PAN, IGNORED]),
        (4, [IGNORED, CUT_EGG, CUT_EGG, CUT_EGG, CUT_PAN, CUT_PAN, IGNORED, IGNORED]),
        (15, [IGNORED] * 3 + [CUT_EGG] * 12 + [CUT_PAN] * 7 + [IGNORED] * 8),
    ],
)
def test_a_row_learns_the_cell_it_ends_in(task, rows_per_second, expected):
    times = rows(2 * rows_per_second, rows_per_second)
    targets = targets_of(task, task.samples("val")[0], times)
    assert targets["current"].tolist() == expected
    assert targets["next"].tolist() == [*expected[1:], IGNORED]


def test_background_can_be_learnt(folder):
    task = load_task("online_action_detection", folder, {"learn_background": True})
    targets = targets_of(task, task.samples("val")[0], rows(8, 4))
    assert targets["current"].tolist() == [0, 2, 2, 2, 1, 1, 0, 0]
    assert targets["next"].tolist() == [2, 2, 2, 1, 1, 0, 0, IGNORED]


def test_the_truth_is_the_annotated_actions(task):
    first, second = map(task.truth, task.samples("val"))
    assert first == Answer(
        video="P01_01",
        task="online_action_detection",
        duration=1.5,
        segments=(
            Segment(start=0.25, end=1.3, label="3 10", score=1.0),
            Segment(start=1.0, end=1.5, label="3 2", score=1.0),
        ),
    )
    assert [(one.start, one.end, one.label) for one in second.segments] == [(0.0, 0.5, "5 2")]


def test_background_is_true_between_actions_where_it_is_learnt(tmp_path):
    actions = [
        epic_row("v0", "00.50", "01.40", 3, 10),
        epic_row("v1", "00.60", "00.70", 3, 2),
        epic_row("v2", "01.50", "02.00", 3, 2),
    ]
    folder = epic_folder(tmp_path, train=TRAIN, val=actions)
    task = load_task("online_action_detection", folder, {"learn_background": True})
    truth = task.truth(task.samples("val")[0])
    assert [(one.start, one.end, one.label) for one in truth.segments] == [
        (0.0, 0.5, "background"),
        (0.5, 1.4, "3 10"),
        (0.6, 0.7, "3 2"),
        (1.4, 1.5, "background"),
        (1.5, 2.0, "3 2"),
    ]


def test_of_a_video_without_actions_nothing_is_true(folder):
    write(folder / "video_lengths.csv", "video_id,num_frames", "P01_01,8", "P02_01,4", "P09_01,3")
    task = load_task("online_action_detection", folder, {"learn_background": True})
    truth = task.truth(task.samples("val")[2])
    assert (truth.video, truth.duration, truth.segments) == ("P09_01", 0.0, ())


def test_a_cell_gets_the_latest_row_that_has_ended_and_nothing_of_the_future(task, folder):
    sample = task.samples("val")[0]
    logits = np.array([[9, 0, 0, 0], [0, 9, 0, 0]], np.float32)
    scores = submission(task, folder, [output_of(sample, rows(2, 1), current=logits)])["P01_01"]
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [np.full(4, 0.25)] * 3 + [soft[0]] * 4 + [soft[1]]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert scores.dtype == np.float32


def test_later_rows_never_change_earlier_cells(task, folder):
    sample, rng = task.samples("val")[0], np.random.default_rng(0)
    logits = rng.normal(size=(30, 4)).astype(np.float32)
    times = rows(30, 15)
    before = submission(task, folder, [output_of(sample, times, current=logits)])["P01_01"]
    logits[times[:, 1] > 1.25 + 1e-9] += 5.0 * np.eye(4, dtype=np.float32)[2]
    after = submission(task, folder, [output_of(sample, times, current=logits)])["P01_01"]
    assert (before[:5] == after[:5]).all()
    assert (before[5:] != after[5:]).any(axis=1).all()


def test_targets_given_back_as_scores_hit_every_action_cell(task, folder):
    outputs = []
    for sample in task.samples("val"):
        times = rows(8, 4)
        current = targets_of(task, sample, times)["current"]
        logits = 9 * np.eye(4, dtype=np.float32)[np.maximum(current, 0)]
        outputs.append(output_of(sample, times, current=logits))
    arrays = submission(task, folder, outputs)
    assert {name: array.shape for name, array in arrays.items()} == {
        "P01_01": (8, 4),
        "P02_01": (4, 4),
    }
    scores = task.score(folder / "p.npz")
    assert scores["overall_action_mt5r"] == 100.0


def test_videos_without_outputs_get_uniform_scores(task, folder):
    sample = task.samples("val")[0]
    output = output_of(sample, rows(2, 1), current=np.zeros((2, 4), np.float32))
    arrays = submission(task, folder, [output])
    assert (arrays["P02_01"] == 0.25).all()


def test_training_videos_get_as_many_cells_as_their_rows_last(task, folder):
    (sample,) = task.samples("train")
    output = output_of(sample, rows(3, 2), current=np.zeros((3, 4), np.float32))
    arrays = submission(task, folder, [output])
    assert {name: array.shape for name, array in arrays.items()} == {"P03_01": (6, 4)}


def test_two_linear_layers_are_trained_by_one_mean(task):
    head = task.answers.build_head(head_context(8))
    assert sum(one.numel() for one in head.parameters()) == 2 * (8 + 1) * 4
    logits = {name: torch.zeros(1, 3, 4) for name in ("current", "next")}
    targets = {"current": torch.tensor([[1, 2, IGNORED]]), "next": torch.tensor([[2, 3, 1]])}
    loss = task.loss(logits, targets)
    assert loss.num_targets == 5
    assert loss.total.item() == pytest.approx(5 * np.log(4))


def test_majority_scores_are_the_training_frequencies(folder):
    pairs = [f"{index},0,{index}" for index in range(8)]
    write(folder / "classes.csv", "id,verb_class,noun_class", "8,3,10", "9,3,2", "10,5,2", *pairs)
    task = load_task("online_action_detection", folder, {})
    scores = task.baselines(folder)["majority"]
    # The never seen (5, 2) is the last of nine ties behind two seen classes: top 5 all the same.
    assert scores["overall_action_mt5r"] == 100.0
    prior = np.zeros(12, np.float32)
    prior[[9, 10]] = 4 / 6, 2 / 6
    np.savez(folder / "m.npz", P01_01=np.tile(prior, (8, 1)), P02_01=np.tile(prior, (4, 1)))
    assert task.score(folder / "m.npz") == scores


def test_chance_is_the_same_in_every_call(task, folder):
    chance = task.baselines(folder)["chance"]
    assert chance == task.baselines(folder)["chance"]
    assert task.main_metric in chance


def test_unseen_and_tail_look_at_their_own_cells(task, folder):
    scores = np.zeros((8, 4), np.float32)
    scores[:, [0, 1]] = 1.0
    np.savez(folder / "p.npz", P01_01=scores, P02_01=scores[:4])
    found = task.score(folder / "p.npz")
    assert (found["unseen_action_mt5r_by_rule"], found["tail_action_mt5r_by_rule"]) == (100, 100)


def test_an_action_outside_the_class_list_is_named(folder):
    write(folder / "classes.csv", "id,verb_class,noun_class", "0,3,10", "1,3,2")
    task = load_task("online_action_detection", folder, {})
    message = r"EPIC_100_validation\.csv, record 'w0'.*\(5, 2\), expected one of the 2 pairs"
    with pytest.raises(AnnotationError, match=message):
        task.samples("val")


def test_without_the_lists_only_the_overall_recall_is_scored(task, folder):
    submission(task, folder, [])  # uniform scores
    whole = task.score(folder / "p.npz")
    for name in ("unseen_participant_ids_validation", "tail_verbs", "tail_nouns"):
        (folder / f"EPIC_100_{name}.csv").unlink()
    left = load_task("online_action_detection", folder, {}).score(folder / "p.npz")
    assert None not in whole.values()
    nothing = {"unseen_action_mt5r_by_rule": None, "tail_action_mt5r_by_rule": None}
    assert left == whole | nothing
