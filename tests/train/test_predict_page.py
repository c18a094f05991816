"""``vllm-predict --html``: the page says what the answers say, beside what is annotated."""

import json
import re

import pytest

from cache_schema.errors import ConfigError
from tests.train.predicting import answers, typed
from tests.train.test_predict_all_tasks import queries, root, trained
from train.tasks import TASKS, task_class

__all__ = ["root", "trained"]

JUDGED = set(TASKS) - {"online_captioning"}
"""Captions stand beside the annotators' own and are not judged."""

WITH_CURVES = {
    "online_action_detection",
    "action_anticipation",
    "action_segmentation",
    "highlight_detection",
}
"""Whose rows say something each."""


def views(page):
    """Return what the page holds of each video, by its name."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" id="view-\d+">(.*?)</script>', text)
    return {view["video"]: view for view in map(json.loads, blocks)}


def media(page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" id="media-\d+">(.*?)</script>', text)
    return [json.loads(block) for block in blocks]


def kinds(view):
    return {lane["kind"] for lane in view["lanes"]}


@pytest.mark.parametrize("trained", TASKS, indirect=True)
def test_a_subset_is_shown_beside_its_annotations(root, trained, tmp_path):
    name, run = trained
    page, suffix = tmp_path / "page.html", task_class(name).answers_type.facts.submission
    result = typed(
        *(run, "--features", root / "f.zarr", "--subset", "val", "--html", page),
        *("--annotations", root / "own.jsonl", "--out", tmp_path / f"submission{suffix}"),
    )
    assert f"Look at it: {page}" in result.stdout
    (view,) = views(page).values()
    assert view["video"] in {"seen/b", "b"}
    assert {"said", "truth"} <= kinds(view)
    marks = [mark for lane in view["lanes"] for mark in lane["marks"]]
    assert all(0 <= mark["start"] <= mark["end"] <= 6.0 for mark in marks)  # three clips of 2 s
    verdicts = {mark["verdict"] for mark in marks}
    assert bool(verdicts & {"right", "wrong", "missed"}) == (name in JUDGED)
    assert bool(view["curves"]) == (name in WITH_CURVES)
    # The file lies beside: it is small, so the page carries it.
    assert media(page)[0]["embedded"]


@pytest.mark.parametrize("trained", TASKS, indirect=True)
def test_a_video_is_shown_alone_and_beside_annotations_where_they_are_given(
    root, trained, tmp_path
):
    name, run = trained
    page, out = tmp_path / "page.html", tmp_path / "a.jsonl"
    asked = ["--query", "where is the cat", "--query", "the dog"] if queries(name) else []
    common = ["--features", root / "f.zarr", "--videos", "b", "--out", out, *asked]
    typed(run, *common, "--html", page)
    (view,) = views(page).values()
    assert kinds(view) == {"said"}
    typed(run, *common, "--html", page, "--annotations", root / "own.jsonl")
    (beside,) = views(page).values()
    assert beside["video"] == "seen/b"
    said = {lane["name"] for lane in view["lanes"]}
    assert said <= {lane["name"] for lane in beside["lanes"]}
    assert "truth" in kinds(beside)
    assert list(answers(out)) == ["seen/b"]


@pytest.mark.parametrize("trained", ["action_segmentation"], indirect=True)
def test_a_new_video_is_shown_though_its_features_are_not_kept(root, trained, tmp_path):
    _, run = trained
    page = tmp_path / "pages" / "page.html"
    out = ["--out", tmp_path / "a.jsonl", "--html", page]
    result = typed(run, root / "videos" / "new", *out, "--json")
    assert json.loads(result.stdout)["page"] == str(page)
    assert set(views(page)) == {"x", "y"}
    assert all(one["embedded"] for one in media(page))
    segments = answers(tmp_path / "a.jsonl")["x"]["segments"]
    (lane,) = [lane for lane in views(page)["x"]["lanes"] if lane["name"] == "says"]
    assert [(one["start"], one["end"], one["label"]) for one in lane["marks"]] == [
        (one["start"], one["end"], one["label"]) for one in segments
    ]


@pytest.mark.parametrize("trained", ["action_segmentation"], indirect=True)
def test_what_cannot_be_is_said_before_anything_is_predicted(root, trained, tmp_path):
    _, run = trained
    common = [run, "--features", root / "f.zarr", "--out", tmp_path / "a.jsonl"]
    with pytest.raises(ConfigError, match="is a folder, expected a file"):
        typed(*common, "--html", tmp_path)
    with pytest.raises(ConfigError, match="--annotations is for --subset"):
        typed(*common, "--annotations", root / "own.jsonl")
    with pytest.raises(ConfigError, match="leave --html out"):
        typed(run, "--stream", "-", "--html", tmp_path / "page.html")
    assert not (tmp_path / "a.jsonl").exists()
