"""What the benchmark of full-size data sets measures, on a hundredth of them."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.full_size import DATASETS, main, summary
from benchmarks.full_size_measures import (
    Asked,
    measure,
    output_shapes,
    random_outputs,
    some_of,
    submission,
)
from cache_schema.store import open_store
from tests.train.outputs import head_context, states_of
from train.tasks import load_task

TASKS = {use.task: name for name, one in DATASETS.items() for use in one.uses}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    folders = {}

    def made(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("made") / name
            words = ["make", name, str(folders[name]), "--share", "0.01"]
            done = CliRunner().invoke(main, words)
            assert done.exit_code == 0, done.output
        return folders[name]

    return made


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"online_captioning"}))
def test_random_outputs_have_the_shapes_of_the_head(folder_of, name):
    task = load_task(name, folder_of(TASKS[name]) / "annotations", {})
    torch.manual_seed(0)
    tokens = max(1, task.answers.appended_tokens)
    states = states_of(torch.randn(1, 128, 8), final=torch.randn(1, tokens, 8))
    outputs = task.answers.build_head(head_context(8)).eval()(states)
    for output, shape in output_shapes(task, 128).items():
        assert outputs[output].shape[1:] == shape


def test_the_whole_subset_is_written_and_scored(folder_of, tmp_path):
    folder = folder_of("qvhighlights")
    asked = Asked(
        task="highlight_detection",
        annotations=str(folder / "annotations"),
        features=str(folder / "features.zarr"),
        out=str(tmp_path),
    )
    written = measure("write", asked)
    lines = [json.loads(line) for line in submission(asked).read_text().splitlines()]
    assert len({line["qid"] for line in lines}) == 16
    assert written["bytes"] == submission(asked).stat().st_size
    scored = measure("score", asked)
    assert scored["seconds"] > 0
    assert 0 < scored["gb"] < 10


def test_reading_counts_the_samples_of_both_subsets(folder_of):
    asked = Asked(
        task="highlight_detection", annotations=str(folder_of("qvhighlights") / "annotations")
    )
    found = measure("read", asked)
    assert (found["train_samples"], found["val_samples"]) == (72, 16)


def test_random_outputs_come_one_by_one(folder_of):
    folder = folder_of("ego4d_nlq_v2")
    task = load_task("natural_language_query", folder / "annotations", {})
    outputs = random_outputs(task, open_store(folder / "features.zarr").stream())
    first, second = next(outputs), next(outputs)
    assert first.sample.query != second.sample.query
    assert len(first.times_R2) + 1 == len(first.windows[0].arrays["start"])
    assert not np.array_equal(first.windows[0].arrays["start"], second.windows[0].arrays["start"])


class Rows:
    num_rows = 10


@pytest.mark.parametrize(("most", "expected"), [(1000, 40), (200, 20), (100, 10), (1, 1)])
def test_some_samples_are_taken_from_all_over_a_subset(most, expected):
    rows = [Rows() for _ in range(40)]
    assert len(some_of(rows, most)) == expected


def test_the_summary_holds_what_has_a_target():
    passes = {"row_passes_of_subset": 100, "row_passes_of_subset_alone": 1150}
    queries = {"read": {"seconds": 2.0}, "predict": passes}
    score = {"seconds": 60.0, "gb": 1.0, "gb_with_pages_of_files": 1.5}
    found = summary(
        {
            "epic100": {
                "tasks": {
                    "online_action_detection": {"read": {"seconds": 3.0}},
                    "action_anticipation": {"read": {"seconds": 4.0}},
                    "online_action_detection, every_video": {"score": score},
                }
            },
            "ego4d_nlq_v2": {"tasks": {"natural_language_query": queries}},
        }
    )
    assert found == {
        "epic_detection_score_seconds": 60.0,
        "epic_detection_score_gb": 1.5,
        "nlq_row_pass_ratio": 11.5,
        "read_annotations_seconds": {"epic100": 4.0, "ego4d_nlq_v2": 2.0},
    }
