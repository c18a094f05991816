"""Every code block of docs/python.md, extending.md and labels.md does what the page says."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from cache_schema import RowWriter, imported_recipe, open_store
from tests.docs_blocks import blocks_of, promised, run_commands, run_python
from tests.extract.videos import constant_pts, write_video
from tests.packages import install
from train.tasks import load_task

TINY = """[train]
llm.name = "none"
data = {window_rows = 16, context_rows = 8}
augment = {noise_std = 0, shift_std = 0, state_dropout = 0}
optim = {epochs = 40, lr = 0.01}
tasks.action_segmentation = {smoothing_weight = 0}
"""
"""Settings of trainings that take a second."""

LABELS = [
    {
        "video": f"kitchen/{name}",
        "subset": subset,
        "duration": 4.0,
        "actions": [
            {"start": 0.0, "end": 2.5, "label": "stir"},
            {"start": 2.5, "end": 4.0, "label": "pour"},
        ],
    }
    for name, subset in (("0007", "train"), ("0008", "val"))
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder, the current one, with labels of two videos and settings of tiny trainings."""
    monkeypatch.chdir(tmp_path)
    Path("pipeline.toml").write_text(TINY)
    Path("labels.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in LABELS))
    return tmp_path


@pytest.fixture
def videos(folder):
    """The two videos, of four seconds."""
    for name in ("0007", "0008"):
        write_video(folder / "videos" / "kitchen" / f"{name}.mp4", constant_pts(120))


@pytest.fixture
def features(folder):
    """Features of the two videos, which tell the label of a row."""
    with RowWriter("feats.zarr", imported_recipe("edges", fps=4)) as writer:
        for name in ("0007", "0008"):
            values = np.random.default_rng(0).normal(size=(16, 32))
            values[:10] += 1
            writer.write(f"kitchen/{name}", values.astype(np.float32))


ENCODER = ["An encoder of your own", "The same in a package"]
TASK = ["A task of your own"]
METRIC = ["A metric of your own"]


def run_page(page, sections, monkeypatch):
    """Run all blocks of these sections, as a reader would."""
    names = {}
    blocks = [block for block in blocks_of(page) if block.section in sections]
    assert {block.section for block in blocks} == set(sections)
    for block in blocks:
        match block.language:
            case "python":
                assert run_python(block, page, names) == promised(block)
            case "toml":
                install(tomllib.loads(block.text)["project"], Path.cwd(), monkeypatch)
            case "csv":
                Path("dishes.csv").write_text(block.text)
            case _:
                run_commands(block)


def file_of_page(name):
    (block,) = (block for block in blocks_of("extending.md") if block.file == name)
    return block.text


@pytest.mark.usefixtures("videos")
def test_the_tour_of_the_python_interface_runs_from_top_to_bottom(monkeypatch):
    sections = list(dict.fromkeys(block.section for block in blocks_of("python.md")))
    assert len(sections) > 6
    run_page("python.md", sections, monkeypatch)


@pytest.mark.usefixtures("videos")
def test_an_encoder_of_one_s_own_works_as_a_file_and_as_a_package(monkeypatch, capsys):
    run_page("extending.md", ENCODER, monkeypatch)
    assert capsys.readouterr().out.count("same: ") == 4
    streams = open_store("feats.zarr").streams
    assert list(streams) == ["edges", "mine.py-Edges"]
    assert streams["edges"].recipe.encoder.id == "edges@edge-features==1.0"
    first, second = (stream.read("kitchen/0007").values for stream in streams.values())
    assert first.tolist() == second.tolist()


@pytest.mark.usefixtures("features")
def test_a_task_of_one_s_own_trains_predicts_and_is_scored(monkeypatch, capsys):
    run_page("extending.md", TASK, monkeypatch)
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [one["task"] for one in answers] == ["dish", "dish"]
    assert json.loads(Path("submission.json").read_text()) == {"kitchen/0008": "omelette"}
    assert capsys.readouterr().out.endswith("accuracy     0.0000\n")


@pytest.mark.usefixtures("features")
def test_a_metric_of_one_s_own_is_in_the_log_and_the_scores(monkeypatch, capsys):
    run_page("extending.md", METRIC, monkeypatch)
    run = Path("runs/balanced_segmentation/1")
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("balanced_acc" in line for line in logged)
    said = [line.split() for line in capsys.readouterr().out.splitlines() if "balanced_acc" in line]
    in_table, in_score = said
    assert in_table[1] == "100.00"  # then those of chance and of the most frequent label
    assert float(in_table[3]) == 50.0  # two classes, of which one is always right
    assert in_score[1:] == ["100.0000"]


@pytest.mark.usefixtures("features")
def test_lengths_of_videos_are_copied_from_the_store_into_a_table():
    lines = ["video,subset,start,end,label"]
    lines += [f"{one['video']}.mp4,{one['subset']},0,2.5,stir" for one in LABELS]
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    (block,) = (one for one in blocks_of("labels.md") if one.language == "python")
    assert run_python(block, "labels.md", {}) == []
    task = load_task("action_segmentation", Path("timed.csv"), {})
    assert [(one.video_id, one.duration_seconds) for one in task.samples("train")] == [
        ("kitchen/0007.mp4", 4.0)
    ]


def test_no_block_of_the_page_is_left_out():
    sections = {block.section for block in blocks_of("extending.md")}
    assert sections == {*ENCODER, *TASK, *METRIC}


@pytest.mark.parametrize("name", ["mine.py", "dish.py", "balanced.py"])
def test_what_the_page_shows_is_short(name):
    assert len([line for line in file_of_page(name).splitlines() if line]) < 60
