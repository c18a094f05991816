import json
import math

import numpy as np
import pytest
import torch

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.annotations.ego4d_files import label, labelled_clip, write_clips
from train.answer import Answer, Segment
from train.model.heads.moments import MomentHead
from train.task import HeadContext, SampleOutput, Window, WindowOutput
from train.tasks import load_task

CUT, EAT = 0, 1
BOUNDS = {"eat": [2.0, 6.0], "cut": [20.0, 24.0]}
"""What the first validation clip holds."""
ROWS = np.stack([10 + np.arange(30.0), 11 + np.arange(30.0)], axis=1)
"""One row per second of the clip, which starts 10 s into its video."""


@pytest.fixture
def folder(tmp_path):
    train = labelled_clip("t", label("eat", 0, 6), label("cut", 3, 9), label("eat", 12, 18))
    write_clips(tmp_path / "moments_train.json", train, split="train")
    write_clips(
        tmp_path / "moments_val.json",
        labelled_clip("c", label("eat", 2.0, 6.0), label("cut", 20.0, 24.0)),
        labelled_clip("d", label("rest", 0, 9)),
        labelled_clip("empty", label("eat", 0, 9, primary=False)),
    )
    return tmp_path


@pytest.fixture
def task(folder):
    return load_task("moment_query", folder, {})


def targets(task, sample, start, stop, num_context=0):
    window = Window(sample=0, start=start, stop=stop, num_context=num_context)
    return {name: array.tolist() for name, array in task.targets(sample, ROWS, window).items()}


def window_output(start, stop, classes, segments, num_context=0):
    window = Window(sample=0, start=start, stop=stop, num_context=num_context)
    logits = np.full((len(classes), 3), -20.0, np.float32)
    logits[np.arange(len(classes)), classes] = 0
    arrays = {"classes": logits, "segments": np.array(segments, np.float32)}
    return WindowOutput(window=window, arrays=arrays)


def submission(task, path, *windows):
    output = SampleOutput(sample=task.samples("val")[0], times_R2=ROWS, windows=windows)
    task.write_predictions([output], path)
    return json.loads(path.read_text())


def write_results(path, results, **more):
    document = {"version": "1.0", "external_data": {}, "results": results, **more}
    path.write_text(json.dumps(document))
    return path


def detection(name="eat", segment=(2.0, 6.0), score=0.5):
    return {"label": name, "score": score, "segment": list(segment)}


def test_samples_are_the_clips_with_a_primary_label(task):
    first, second = task.samples("val")
    assert (first.video_id, first.start_seconds, first.end_seconds) == ("v", 10.0, 40.0)
    assert first.target.classes_G.tolist() == [CUT, EAT]
    assert task.answers.labels() == {"classes": ("cut", "eat", "nothing")}
    assert first.target.segments_G2.tolist() == [[30, 34], [12, 16]]
    assert second.target.classes_G.tolist() == []  # training has no "rest"


def test_repetitions_and_moments_without_length_are_not_learned(folder):
    labels = label("a", 1, 2), label("a", 1, 2), label("a", 1, 1), label("a", 3, 2)
    write_clips(folder / "moments_train.json", labelled_clip("t", *labels), split="train")
    (sample,) = load_task("moment_query", folder, {}).samples("train")
    assert sample.target.segments_G2.tolist() == [[11, 12]]


def test_the_truth_is_the_moments_in_seconds_of_the_video(task):
    first, second = map(task.truth, task.samples("val"))
    assert first == Answer(
        video="v",
        task="moment_query",
        duration=40.0,
        segments=(
            Segment(start=12.0, end=16.0, label="eat", score=1.0),
            Segment(start=30.0, end=34.0, label="cut", score=1.0),
        ),
    )
    # What training lacks is as true.
    assert second.segments == (Segment(start=10.0, end=19.0, label="rest", score=1.0),)


def test_repetitions_and_moments_without_length_are_no_truth(folder):
    labels = label("a", 1, 2), label("a", 1, 2), label("a", 1, 1), label("a", 3, 2)
    write_clips(folder / "moments_val.json", labelled_clip("t", *labels))
    task = load_task("moment_query", folder, {})
    (truth,) = map(task.truth, task.samples("val"))
    assert [(one.start, one.end) for one in truth.segments] == [(11.0, 12.0)]


def test_targets_are_fractions_of_the_window(task):
    assert targets(task, task.samples("val")[0], 0, 30) == {
        "classes": [CUT, EAT],
        "segments": pytest.approx(np.array([[20, 24], [2, 6]]) / 30),
        "count": [2],
    }


def test_a_cut_moment_counts_if_half_of_it_is_left(task):
    sample = task.samples("val")[0]
    half = targets(task, sample, 4, 20)  # the clip's 4 s to 20 s: eat from 4 to 6
    assert (half["classes"], half["segments"]) == ([EAT], pytest.approx(np.array([[0, 2 / 16]])))
    assert targets(task, sample, 5, 20) == {"classes": [], "segments": [], "count": [0]}


def test_moments_in_context_rows_count(task):
    assert targets(task, task.samples("val")[0], 0, 10, num_context=8)["classes"] == [EAT]


def test_targets_given_back_as_outputs_score_full_recall(task, folder):
    path = folder / "p.json"
    window = window_output(0, 30, [EAT, CUT], np.array([*BOUNDS.values()]) / 30)
    results = submission(task, path, window)["results"]
    assert results["d"] == []
    best = {one["label"]: one["segment"] for one in results["c"][:2]}
    assert best == {name: pytest.approx(bounds) for name, bounds in BOUNDS.items()}
    scores = task.score(path)
    assert scores["Recall@1x_tIoU=0.7"] == pytest.approx(2 / 3)  # "rest" is never named
    assert scores["average_mAP"] == pytest.approx(2 / 3)
    assert task.quality(scores) == scores["average_mAP"]


def test_windows_are_merged_in_seconds_of_the_clip(task, folder):
    first = window_output(0, 20, [EAT], [[0.5, 0.75]])  # 10 s to 15 s
    second = window_output(10, 30, [EAT], [[0.0, 0.25]], num_context=10)  # the same
    third = window_output(20, 30, [EAT], [[-0.5, 2.0]], num_context=10)  # past both ends
    found = submission(task, folder / "p.json", first, second, third)["results"]["c"]
    eaten = [one["segment"] for one in found if one["label"] == "eat"]
    assert eaten == [pytest.approx([10, 15]), pytest.approx([15, 30])]


def test_one_segment_is_offered_under_every_class_best_first(task, folder):
    found = submission(task, folder / "p.json", window_output(0, 30, [EAT], [[0, 1]]))
    scores = [one["score"] for one in found["results"]["c"]]
    assert [one["label"] for one in found["results"]["c"]] == ["eat", "cut"]
    assert scores == sorted(scores, reverse=True)


def test_predictions_of_training_clips_are_not_filled_up(task, folder):
    output = SampleOutput(
        sample=task.samples("train")[0],
        times_R2=ROWS,
        windows=[window_output(0, 30, [EAT], [[0, 1]])],
    )
    task.write_predictions([output], folder / "p.json")
    assert list(json.loads((folder / "p.json").read_text())["results"]) == ["t"]


@pytest.mark.parametrize(("memory", "tokens"), [("none", 0), ("one", 1), ("per_moment", 7)])
def test_head_and_appended_tokens_follow_the_options(folder, memory, tokens):
    task = load_task("moment_query", folder, {"num_moments": 7, "memory_tokens": memory})
    context = HeadContext(width=8, llm=None, device=torch.device("cpu"), seed=0)
    head = task.answers.build_head(context)
    assert isinstance(head, MomentHead)
    assert (task.answers.appended_tokens, head.scale_ME.shape[0], head.classes.out_features) == (
        tokens,
        7,
        3,
    )


def test_the_loss_falls_when_outputs_come_near_the_targets(task):
    window = Window(sample=0, start=0, stop=30)
    wanted = task.targets(task.samples("val")[0], ROWS, window)
    batch = {name: torch.from_numpy(array)[None] for name, array in wanted.items()}
    logits = torch.full((1, 3, 3), -9.0)
    logits[0, [0, 1, 2], [EAT, CUT, 2]] = 9.0
    segments = torch.tensor([[[2 / 30, 6 / 30], [20 / 30, 24 / 30], [0, 1]]])
    right = task.loss({"classes": logits, "segments": segments}, batch)
    wrong = task.loss({"classes": logits.flip(1), "segments": segments}, batch)
    assert right.total.item() == pytest.approx(0, abs=1e-4)
    assert wrong.total.item() > 1
    assert right.num_targets == 1


def test_baselines_are_scored_and_chance_names_random_segments(task, folder):
    scores = task.baselines(folder / "baselines")
    assert list(scores) == ["chance", "majority"]
    majority = json.loads((folder / "baselines" / "majority.json").read_text())["results"]["c"]
    # eat: (0-6 and 12-18) of 30 s, twice in training; cut: 3-9 of 30 s, once.
    assert majority == [
        {"label": "eat", "score": pytest.approx(2 / 3), "segment": pytest.approx([6, 12])},
        {"label": "cut", "score": pytest.approx(1 / 3), "segment": pytest.approx([3, 9])},
    ]
    assert all(math.isfinite(value) for value in scores["chance"].values())


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"c": [], "D": []}, "clip 'D' is none of the 3 validation clips"),
        ({"c": []}, "1 of 2 clips with a primary label are missing, the first is 'd'"),
        ({"c": [detection(score=math.nan)], "d": []}, r"c\.0, field 'score' is nan"),
        ({"c": [detection(segment=[1.0])], "d": []}, r"field 'segment' is \[1\.0\]: .* 2 items"),
        ({"c": [{"label": "eat"}], "d": []}, "field 'score' is missing"),
        ({"c": None, "d": []}, "field 'c' is None"),
    ],
)
def test_wrong_submissions_are_refused(task, folder, results, message):
    path = write_results(folder / "p.json", results)
    with pytest.raises(AnnotationError, match=message) as caught:
        task.score(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Is the file cut short"),
        ('{"version": "1.0", "external_', "Is the file cut short"),
        ('{"version": "1.0", "results": {}}', "field 'external_data' is missing"),
    ],
)
def test_empty_and_broken_files_are_refused(task, folder, text, message):
    (folder / "p.json").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        task.score(folder / "p.json")


def test_a_file_without_primary_labels_is_refused(tmp_path):
    path = write_clips(tmp_path / "moments_val.json", labelled_clip("c"))
    predictions = write_results(tmp_path / "p.json", {"c": []})
    with pytest.raises(AnnotationError, match="no val clip has a primary label"):
        load_task("moment_query", path, {}).score(predictions)


def test_a_window_must_be_able_to_name_a_moment(folder):
    with pytest.raises(ConfigError, match="num_moments"):
        load_task("moment_query", folder, {"num_moments": 0})


def test_a_submission_of_test_clips_is_made_whole_in_the_servers_form(folder):
    clips = [{key: value for key, value in labelled_clip(name).items() if key != "annotations"}
             for name in ("e", "f")]  # fmt: skip
    write_clips(folder / "moments_test_unannotated.json", *clips, split="test")
    task = load_task("moment_query", folder, {})
    first, second = task.samples("test")
    assert (first.annotated, task.truth(second)) == (False, None)
    window = window_output(0, 30, [EAT], [[0.0, 0.5]])
    output = SampleOutput(sample=first, times_R2=ROWS, windows=[window])
    task.write_predictions([output], folder / "p.json")
    document = json.loads((folder / "p.json").read_text())
    assert document["detect_results"]["e"][0]["label"] == "eat"
    assert document["detect_results"]["f"] == document["retrieve_results"]["f"] == []
    assert list(task.violations(folder / "p.json", "test")) == []
    assert "'e' is not among the 2 clips" in next(iter(task.violations(folder / "p.json", "val")))


def test_a_test_file_without_clips_is_refused(folder):
    write_clips(folder / "moments_test_unannotated.json", split="test")
    with pytest.raises(AnnotationError, match="its test file has no clip of a test video"):
        load_task("moment_query", folder, {}).samples("test")
