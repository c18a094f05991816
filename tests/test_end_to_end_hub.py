"""Features and a run from one lab to another by way of a hub.

What has to do with the hub is typed as both labs would, and what has not runs in this process.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from demo.folder import write_demo
from demo.truth import SMALL_SPEC
from extract.cli import extract_command
from tests.hub import TOKEN, running_hub
from tests.test_end_to_end import SETTINGS
from tests.test_end_to_end_bucket import here
from tests.train.model.tiny_llms import save_tiny_llm
from train.answer import as_json
from train.cli import train
from train.predict.load_run import load_run

STORE = "hf://datasets/lab/toys"
RUN = "hf://lab/toys-actions"


def typed(folder, hub, line):
    """Run one of the installed commands in a folder, whose owner has a cache of their own."""
    name, *words = line.split()
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder / "hf"),
        "HF_TOKEN": TOKEN,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    program = Path(sys.executable).with_name(name)
    done = subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Folders of two labs, of which the first has shared its features and a run; and the hub."""
    root = tmp_path_factory.mktemp("labs")
    ours, theirs = root / "ours", root / "theirs"
    list(write_demo(ours / "set", SMALL_SPEC))
    theirs.mkdir()
    shutil.copytree(ours / "set" / "annotations", theirs / "set" / "annotations")
    save_tiny_llm("llama", root / "llm")
    for folder in (ours, theirs):
        settings = SETTINGS.replace('name = "llm"', f'name = "{root / "llm"}"')
        (folder / "pipeline.toml").write_text(settings)
    with running_hub() as hub:
        here(ours, extract_command, "set/videos --out feats.zarr")
        typed(ours, hub, f"vllm-store push feats.zarr {STORE}")
        here(ours, train, "--features feats.zarr --out run")
        typed(ours, hub, f"vllm-export run {RUN}")
        (theirs / "mine").mkdir()
        shutil.move(ours / "set" / "videos" / "P01_01.mp4", theirs / "mine" / "other-name.mp4")
        shutil.rmtree(ours / "set" / "videos")
        yield ours, theirs, hub


@pytest.mark.long
def test_training_on_a_hubs_store_gives_the_scores_of_training_on_ones_own(labs):
    ours, theirs, hub = labs
    trained = typed(theirs, hub, f"vllm-train --features {STORE} --out run --json")
    assert f"{STORE} lies in {theirs / 'hf' / 'hub'}" in trained.stderr
    result = json.loads((ours / "run" / "report" / "result.json").read_text())
    assert json.loads(trained.stdout)["metrics"] == result["metrics"]
    for path in (theirs / "run").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_who_got_a_store_checks_it_with_the_one_video_they_have(labs):
    _, theirs, hub = labs
    typed(theirs, hub, f"vllm-store pull {STORE} got.zarr")
    digest = store_digest(open_store(theirs / "got.zarr"))
    assert f"`{digest}`" in hub.content("datasets", "lab/toys", "README.md").decode()
    checked = typed(theirs, hub, "vllm-store verify got.zarr --recompute 5 --videos mine")
    assert checked.stdout.count("same: P01_01 row") == 5


def test_a_run_from_the_hub_answers_a_video_as_its_makers_run_does(labs):
    ours, theirs, hub = labs
    typed(theirs, hub, f"vllm-predict {RUN} mine/other-name.mp4 --out video.jsonl")
    (answer,) = map(json.loads, (theirs / "video.jsonl").read_text().splitlines())
    (same,) = load_run(ours / "run", device="cpu").predict(ours / "feats.zarr", ["P01_01"])
    assert answer["segments"] == json.loads(json.dumps(as_json(same)))["segments"]
    assert len(answer["segments"]) > 0
