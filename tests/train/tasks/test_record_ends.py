"""Every task says when its annotated records end, from official files and from our own format."""

import json

import numpy as np
import pytest

from demo.annotations import write_annotations
from demo.truth import SMALL_SPEC, make_truth
from tests.train.toy import make_store
from train.data.record_ends import record_ends_beyond
from train.tasks import TASKS, load_task

VIDEO = {
    "duration": 10.0,
    "actions": [
        {"start": 0.0, "end": 2.5, "verb": "cut", "noun": "egg"},
        {"start": 3.0, "end": 900.0, "verb": "stir", "noun": "egg"},
    ],
    "moments": [
        {"start": 0.0, "end": 4.0, "label": "cooking"},
        {"start": 5.0, "end": 901.0, "label": "cooking"},
    ],
    "queries": [{"query": "where", "start": 7.0, "end": 902.0}],
    "captions": [{"time": 1.0, "text": "early"}, {"time": 903.0, "text": "late"}],
    "highlights": [{"query": "steam", "saliency": [0] * 451 + [3, 0, 0]}],
}
OWN_ENDS = {
    **{name: [2.5, 900.0] for name in TASKS},
    "moment_query": [4.0, 901.0],
    "natural_language_query": [902.0],
    "online_captioning": [1.0, 903.0],
    # The middle of the last clip that is salient: the clip itself may be cut by the video's end.
    "highlight_detection": [903.0],
}
OF_ACTIONS = {
    *("online_action_detection", "action_anticipation", "long_term_anticipation"),
    "online_captioning",
}
"""Tasks that have a record for each action of the demo set."""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.jsonl"
    lines = [{"video": name, "subset": name, **VIDEO} for name in ("train", "val")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def truth():
    return make_truth(SMALL_SPEC)


@pytest.fixture(scope="module")
def official(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    write_annotations(folder, truth)
    return folder


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("subset", ["train", "val"])
def test_of_our_own_format(own, name, subset):
    samples = load_task(name, own, {}).samples(subset)
    assert [end for sample in samples for end in sample.record_ends] == OWN_ENDS[name]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("subset", ["train", "val"])
def test_of_official_files(official, truth, name, subset):
    samples = load_task(name, official / name, {}).samples(subset)
    ends = [end for sample in samples for end in sample.record_ends]
    videos = [video for video in truth.videos if video.split == subset]
    seconds = SMALL_SPEC.seconds
    assert all(0 < end <= seconds for end in ends)
    assert max(ends) > seconds - 2
    if name in OF_ACTIONS:
        assert len(ends) == sum(len(video.segments) for video in videos)
    if name == "action_segmentation":
        assert ends == [seconds] * len(videos)


@pytest.mark.parametrize("name", TASKS)
def test_the_demo_set_fits_its_videos(official, truth, name, tmp_path):
    rows = {
        video.video_id: np.ones((2 * SMALL_SPEC.seconds, 1), np.float32) for video in truth.videos
    }
    stream = make_store(tmp_path / "f.zarr", rows).stream()
    samples = load_task(name, official / name, {}).samples("train")
    found = record_ends_beyond(name, samples, stream)
    assert found.num_cases > 0
    assert found.num_misfits == 0
