"""What the README promises, typed as a user would: the two commands and their companions.

The way from videos to scores is typed, as are mistakes that end before torch is imported. What
branches off from it runs in this process: a program takes longer to start than to do its work here.
"""

import copy
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from cache_schema.cli_edge import run
from demo.folder import write_demo
from demo.truth import SMALL_SPEC
from extract.cli import extract_command
from tests.train.model.tiny_llms import save_tiny_llm
from train.cli import train
from train.predict_cli import predict
from train.score_cli import command as score

SETTINGS = """
[extract]
encoders = ["fake"]
fps = 4

[train]
task = "action_segmentation"
annotations = "set/annotations/action_segmentation"

[train.llm]
name = "llm"
num_layers = 0

[train.data]
window_rows = 32
context_rows = 8

[train.optim]
epochs = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("user")
    list(write_demo(path / "set", SMALL_SPEC))
    save_tiny_llm("llama", path / "llm")
    (path / "pipeline.toml").write_text(SETTINGS)
    extracted = command(path, "vllm-extract set/videos --out feats.zarr")
    assert extracted.returncode == 0, extracted.stderr
    assert "6 videos extracted" in extracted.stdout
    return path


def command(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run one of the installed commands in a folder."""
    name, *args = line.split()
    program = Path(sys.executable).with_name(name)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [program, *args], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


COMMANDS = {
    "vllm-extract": extract_command,
    "vllm-train": train,
    "vllm-predict": predict,
    "vllm-score": score,
}


def here(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Do in this process what ``command`` does."""
    name, *args = line.split()
    own = copy.deepcopy(COMMANDS[name])  # a program adds its options to the one that it runs
    out, said = io.StringIO(), io.StringIO()
    with (
        chdir(folder),
        patch.object(sys, "argv", [name, *args]),
        redirect_stdout(out),
        redirect_stderr(said),
        pytest.raises(SystemExit) as left,
    ):
        run(own)
    return subprocess.CompletedProcess(args, left.value.code, out.getvalue(), said.getvalue())


RUNS = "runs/action_segmentation"


@pytest.fixture(scope="module")
def trained(folder):
    done = command(folder, "vllm-train --features feats.zarr")
    assert done.returncode == 0, done.stderr
    return done


def test_from_videos_to_official_scores(folder, trained):
    assert "chance" in trained.stdout
    assert "majority" in trained.stdout
    predicted = command(
        folder, f"vllm-predict {RUNS} --features feats.zarr --subset val --out predictions"
    )
    assert predicted.returncode == 0, predicted.stderr
    assert f"{RUNS}: run {RUNS}/1, the newest with a checkpoint\n" in predicted.stderr
    annotations = "set/annotations/action_segmentation"
    scored = command(
        folder,
        "vllm-score --task action_segmentation --json --predictions predictions "
        f"--annotations {annotations}",
    )
    scores = json.loads(scored.stdout)
    own = f"{RUNS}/1/predictions/val/action_segmentation"
    again = here(folder, "vllm-score --task action_segmentation --json --annotations "
                         f"{annotations} --predictions {own}")  # fmt: skip
    assert scores == json.loads(again.stdout)
    assert 0 <= scores["Acc"] <= 100


def test_a_copied_run_answers_a_video_without_annotations(folder, trained, tmp_path):
    shutil.copytree(folder / RUNS / "1", tmp_path / "copied")
    (folder / "set/annotations").rename(folder / "set/hidden")
    try:
        answered = here(
            folder, f"vllm-predict {tmp_path}/copied set/videos/P01_01.mp4 --out {tmp_path}/a.jsonl"
        )
        stored = here(
            folder,
            f"vllm-predict {tmp_path}/copied/checkpoint-best --features feats.zarr "
            f"--videos P01_01 --out {tmp_path}/b.jsonl --scores {tmp_path}/b.npz",
        )
    finally:
        (folder / "set/hidden").rename(folder / "set/annotations")
    assert answered.returncode == 0, answered.stderr
    assert stored.returncode == 0, stored.stderr
    (answer,) = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    assert (answer["video"], answer["task"]) == ("P01_01", "action_segmentation")
    segments = answer["segments"]
    assert segments[0]["start"] == 0.0
    assert segments[-1]["end"] == answer["duration"]
    classes = (folder / "set/annotations/action_segmentation/mapping.txt").read_text().split()[1::2]
    assert {one["label"] for one in segments} <= set(classes)
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    with np.load(tmp_path / "b.npz", allow_pickle=False) as scores:
        assert scores["P01_01/current"].shape == (len(scores["P01_01/times"]), len(classes))


def test_what_cannot_be_predicted_is_one_sentence(folder, trained, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    bad = here(folder, f"vllm-predict {RUNS}/1 {tmp_path}/bad.mp4 --out {tmp_path}/a.jsonl")
    assert bad.returncode == 3
    assert f"failed: bad ({tmp_path}/bad.mp4): " in bad.stdout
    asked = here(folder, f"vllm-predict {RUNS}/1 set/videos --query who? --out a.jsonl")
    assert asked.returncode == 2
    assert asked.stderr == "Error: action_segmentation has no queries; leave --query out.\n"
    nobody = here(folder, f"vllm-predict {RUNS}/1 set/videos --workers 0 --out a.jsonl")
    assert nobody.returncode == 2
    assert "workers is 0, must be at least 1" in nobody.stderr
    for done in (bad, asked, nobody):
        assert "Traceback" not in done.stderr


def test_the_second_task_trains_on_the_same_features(folder):
    trained = here(
        folder,
        "vllm-train --features feats.zarr --task online_action_detection --json "
        "--annotations set/annotations/online_action_detection",
    )
    assert trained.returncode == 0, trained.stderr
    report = json.loads(trained.stdout)
    assert set(report["baselines"]) == {"chance", "majority"}
    assert "overall_action_mt5r" in report["metrics"]


def test_a_video_without_annotation_file_is_said_and_a_video_without_rows_too(folder, tmp_path):
    (tmp_path / "pipeline.toml").write_text("[extract]\nencoders = ['fake']\n")
    (tmp_path / "one.mp4").write_bytes((folder / "set/videos/P01_01.mp4").read_bytes())
    here(tmp_path, "vllm-extract one.mp4 --out feats.zarr")
    trained = here(
        tmp_path,
        "vllm-train --features feats.zarr --task action_segmentation --annotations "
        f"{folder}/set/annotations/action_segmentation",
    )
    assert trained.returncode == 2
    assert "holds no rows for 4 of 4 annotated videos (P01_01" in trained.stderr


def test_training_without_settings_says_which_flags_it_needs(tmp_path):
    done = command(tmp_path, "vllm-train --features feats.zarr")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "vllm-train needs --task, --annotations" in done.stderr


@pytest.mark.parametrize(
    "line",
    ["vllm-extract --help", "vllm-train --help", "vllm-predict --help", "vllm-score --help",
     "vllm-store --help", "vllm-store verify --help"],
)  # fmt: skip
def test_every_command_explains_itself(tmp_path, line):
    done = command(tmp_path, line)
    assert done.returncode == 0
    assert "Usage:" in done.stdout
