"""Trained runs on a GPU against the CPU's answers: of stores, of videos, and row by row."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.train.streamed_runs import make_run, make_videos
from train.predict_cli import predict

pytestmark = pytest.mark.needs_cuda


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("on_gpu")
    make_videos(root)
    return root


def outputs(run, folder, device, *asked):
    """Return output -> values of what a run says, its numbers in float32."""
    folder.mkdir()
    arguments = [run, *asked, "--out", folder / "a.jsonl", "--scores", folder / "a.npz"]
    texts = [*map(str, arguments), "--device", device]
    done = CliRunner().invoke(predict, texts, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert all(json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines())
    with np.load(folder / "a.npz", allow_pickle=False) as file:
        return dict(file)


def assert_same_answers(run, folder, *asked):
    right = outputs(run, folder / "right", "cpu", *asked)
    found = outputs(run, folder / "found", "cuda", *asked)
    assert found.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=2e-3, err_msg=name)


@pytest.mark.parametrize(
    ("task", "tuning", "asked"),
    [
        ("online_action_detection", "lora:2", []),
        ("online_action_detection", "prompt:3", ["--stream"]),
        ("action_segmentation", "basic", []),
        ("action_anticipation", "prefix:3", []),
        ("action_anticipation", "basic", ["--stream"]),
    ],
)
def test_a_gpu_says_what_the_cpu_says(root, tmp_path, task, tuning, asked):
    run = make_run(root, tmp_path / "run", task, tuning=tuning)
    assert_same_answers(run, tmp_path, *asked, root / "x.mkv")


def test_a_store_is_answered_as_on_the_cpu(root, tmp_path):
    run = make_run(root, tmp_path / "run", "action_segmentation", tuning="lora:2")
    assert_same_answers(run, tmp_path, "--features", root / "f.zarr")
