"""Every task says how long its videos are where its annotations do, and names clips and queries."""

import json
import math

import pytest

from demo.annotations import write_annotations
from demo.truth import SMALL_SPEC, make_truth
from train.tasks import TASKS, load_task

VIDEO = {
    "duration": 11.5,
    "actions": [{"start": 0.0, "end": 2.5, "label": "cut"}],
    "moments": [{"start": 0.0, "end": 4.0, "label": "cooking"}],
    "queries": [{"query": "where", "start": 7.0, "end": 9.0}],
    "captions": [{"time": 1.0, "text": "early"}],
    "highlights": [{"query": "steam", "saliency": [0, 3, 0, 0, 0]}],
}
OWN_DURATIONS = {
    **dict.fromkeys(TASKS, 11.5),
    "action_segmentation": 173 / 15,  # label frames, the last of which is begun: 11.5 * 15 = 172.5
}
OF_CLIPS = ("moment_query", "natural_language_query", "long_term_anticipation")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.jsonl"
    lines = [{"video": f"k/{name}", "subset": name, **VIDEO} for name in ("train", "val")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    write_annotations(folder, make_truth(SMALL_SPEC))
    return folder


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("subset", ["train", "val"])
def test_of_our_own_format(own, name, subset):
    (sample,) = load_task(name, own, {}).samples(subset)
    if name in OF_CLIPS:  # the whole video is the clip
        found = sample.clip_id, sample.duration_seconds, sample.end_seconds
        assert found == (f"k/{subset}", None, OWN_DURATIONS[name])
    else:
        found = sample.clip_id, sample.duration_seconds, sample.end_seconds
        assert found == ("", pytest.approx(OWN_DURATIONS[name]), math.inf)


def test_a_line_need_not_say_it(tmp_path):
    line = {**VIDEO, "video": "a", "subset": "train", "duration": None}
    (tmp_path / "own.jsonl").write_text(json.dumps(line))
    for name in ("action_anticipation", "online_captioning", "highlight_detection"):
        (sample,) = load_task(name, tmp_path / "own.jsonl", {}).samples("train")
        assert sample.duration_seconds is None


@pytest.mark.parametrize("name", TASKS)
def test_of_official_files(official, name):
    samples = load_task(name, official / name, {}).samples("val")
    durations = {sample.duration_seconds for sample in samples}
    is_said = name in ("action_segmentation", "highlight_detection")
    assert durations == ({SMALL_SPEC.seconds} if is_said else {None})
    if name in OF_CLIPS:
        assert all(sample.clip_id not in ("", sample.video_id) for sample in samples)


@pytest.mark.parametrize("name", ["online_action_detection", "action_anticipation"])
def test_epic_s_list_of_videos_says_it(official, name, tmp_path):
    for path in (official / name).iterdir():
        (tmp_path / path.name).symlink_to(path)
    task = load_task(name, tmp_path, {})
    first = task.samples("val")[0].video_id
    text = f"video_id,duration,fps,resolution\n{first},97.25,50.0,1920x1080\n"
    (tmp_path / "EPIC_100_video_info.csv").write_text(text)
    durations = {one.video_id: one.duration_seconds for one in task.samples("val")}
    assert durations.pop(first) == 97.25
    assert set(durations.values()) == {None}


def test_queries_have_the_ids_of_their_releases(official, own):
    highlights = load_task("highlight_detection", official / "highlight_detection", {})
    ids = [sample.query_id for sample in highlights.samples("val")]
    lines = (official / "highlight_detection" / "highlight_val.jsonl").read_text().splitlines()
    assert ids == [str(json.loads(line)["qid"]) for line in lines]
    task = load_task("natural_language_query", official / "natural_language_query", {})
    document = json.loads((official / "natural_language_query" / "nlq_val.json").read_text())
    expected = {
        f"{annotation['annotation_uid']}_{index}"
        for video in document["videos"]
        for clip in video["clips"]
        for annotation in clip["annotations"]
        for index, _ in enumerate(annotation["language_queries"])
    }
    assert {sample.query_id for sample in task.samples("val")} <= expected
    assert len({sample.query_id for sample in task.samples("val")}) == len(task.samples("val"))
