"""Our own format: a video in which there is nothing is not one that nobody has looked at."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from train.task import Window
from train.tasks import load_task

KINDS = ("actions", "moments", "queries", "captions", "highlights")


def line(video, subset, **kinds):
    return {"video": video, "subset": subset, "duration": 8.0, **kinds}


def annotated(video, subset, label):
    span = {"start": 1.0, "end": 5.0}
    return line(
        video,
        subset,
        actions=[
            {**span, "start": start, "label": name}
            for start, name in ((1.0, label), (3.0, "stir"), (4.0, "wash"))
        ],
        moments=[{**span, "label": label}],
        queries=[{**span, "query": label}],
        captions=[{"time": 1.0, "text": label}],
        highlights=[{"query": label, "saliency": [0, 4, 4, 0]}],
    )


def nothing(video, subset):
    return line(video, subset, **{kind: [] for kind in KINDS})


LINES = [
    annotated("t", "train", "cut"),
    nothing("t-idle", "train"),
    line("t-unseen", "train"),
    annotated("v", "val", "cut"),
    nothing("v-idle", "val"),
    line("v-unseen", "val"),
]
OPTIONS = {
    "long_term_anticipation": {"num_input_actions": 1, "num_future_actions": 2},
    "online_action_detection": {"learn_background": True},
}


def task_of(name, path, lines=LINES):
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return load_task(name, path, OPTIONS.get(name, {}))


@pytest.mark.parametrize("subset", ["train", "val"])
@pytest.mark.parametrize(
    ("name", "idle"),
    [
        ("action_segmentation", True),
        ("online_action_detection", True),
        ("action_anticipation", False),
        ("long_term_anticipation", False),
        ("moment_query", False),
        ("natural_language_query", False),
        ("online_captioning", False),
        ("highlight_detection", False),
    ],
)
def test_a_task_that_learns_from_nothing_has_such_videos(tmp_path, name, subset, idle):
    samples = task_of(name, tmp_path / "own.jsonl").samples(subset)
    first = subset[0]
    assert [one.video_id for one in samples] == [first, f"{first}-idle"][: 1 + idle]


@pytest.mark.parametrize("name", ["action_segmentation", "online_action_detection"])
def test_every_row_of_a_video_without_an_action_is_background(tmp_path, name):
    task = task_of(name, tmp_path / "own.jsonl")
    _, idle = task.samples("train")
    times_R2 = np.array([[second, second + 1.0] for second in range(8)])
    targets = task.targets(idle, times_R2, Window(sample=0, start=0, stop=8))
    assert targets["current"].tolist() == [0] * 8
    assert [segment.label for segment in task.truth(idle).segments] in ([], ["background"])


@pytest.mark.parametrize(
    "name",
    [
        "action_segmentation",
        "online_action_detection",
        "action_anticipation",
        "long_term_anticipation",
        "moment_query",
    ],
)
def test_videos_without_segments_are_scored(tmp_path, name):
    task = task_of(name, tmp_path / "own.jsonl")
    for scores in task.baselines(tmp_path / "baselines").values():
        assert scores[task.main_metric] is not None
        assert all(value is None or np.isfinite(value) for value in scores.values())


def test_frames_of_a_video_without_an_action_count_as_background(tmp_path):
    task = task_of("action_segmentation", tmp_path / "own.jsonl")
    labels = {"v": ["background"] * 120, "v-idle": ["background"] * 120}
    labels["v"][15:75] = ["cut"] * 30 + ["stir"] * 15 + ["wash"] * 15
    assert score(task, tmp_path / "right", labels)["Acc"] == 100
    labels["v-idle"][:60] = ["cut"] * 60
    assert score(task, tmp_path / "wrong", labels)["Acc"] == 75


def score(task, folder: Path, labels):
    folder.mkdir()
    for video, names in labels.items():
        (folder / f"{video}.txt").write_text("\n".join(names) + "\n")
    return task.score(folder)


def test_clips_without_a_moment_are_left_out_aloud(tmp_path, caplog):
    task = task_of("moment_query", tmp_path / "own.jsonl")
    with caplog.at_level(logging.INFO):
        task.samples("val")
    assert "1 of 2 val clips have no moment and are left out" in caplog.text


def test_a_subset_in_which_there_is_nothing_at_all_is_refused(tmp_path):
    lines = [annotated("t", "train", "cut"), nothing("v", "val")]
    task = task_of("action_segmentation", tmp_path / "own.jsonl", lines)
    with pytest.raises(AnnotationError, match="no line of subset 'val' has 'actions'"):
        task.samples("val")
