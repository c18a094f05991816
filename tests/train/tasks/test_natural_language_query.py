import json
import logging
import math

import numpy as np
import pytest
import torch

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.annotations.ego4d_files import queried_clip, query, write_clips
from tests.train.outputs import states_of
from train.answer import Answer, QueryAnswer, Span
from train.model.heads.pointer import PointerHead
from train.task import IGNORED, HeadContext, SampleOutput, Window, WindowOutput
from train.tasks import load_task
from train.tasks.natural_language_query import question

ROWS = np.stack([10 + np.arange(30.0), 11 + np.arange(30.0)], axis=1)
"""One row per second of the clip, which starts 10 s into its video."""


@pytest.fixture
def folder(tmp_path):
    train = queried_clip("t", query("Where is the pan", 0, 6), query("When?", 1, 7))
    write_clips(tmp_path / "nlq_train.json", train, split="train")
    write_clips(
        tmp_path / "nlq_val.json",
        queried_clip("c", query(" Where did I put it?? ", 4, 8), query(None, 1, 2)),
    )
    return tmp_path


@pytest.fixture
def task(folder):
    return load_task("natural_language_query", folder, {})


def sample_of(folder, start, end):
    write_clips(folder / "nlq_val.json", queried_clip("c", query("what?", start, end)))
    return load_task("natural_language_query", folder, {}).samples("val")[0]


def places(task, sample, start, stop):
    targets = task.targets(sample, ROWS, Window(sample=0, start=start, stop=stop))
    return targets["start"].item(), targets["end"].item()


def window_output(start, stop, *, first, last, nothing=-20.0, num_context=0, padding=0):
    """Logits of 0 at one start and end row and a little less elsewhere."""
    window = Window(sample=0, start=start, stop=stop, num_context=num_context)
    logits = np.full((2, 1 + window.num_rows + padding), -20.0, np.float32)
    logits[:, 0] = nothing
    logits[0, 1 + first] = logits[1, 1 + last] = 0
    return WindowOutput(window=window, arrays={"start": logits[0], "end": logits[1]})


def submission(task, path, *windows, subset="val"):
    output = SampleOutput(sample=task.samples(subset)[0], times_R2=ROWS, windows=windows)
    task.write_predictions([output], path)
    return json.loads(path.read_text())["results"]


def entry(times=((4.0, 8.0),), **more):
    own = {"clip_uid": "c", "annotation_uid": "a", "query_idx": 0}
    return own | {"predicted_times": [list(one) for one in times]} | more


def write_results(path, *entries, **more):
    document = {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": list(entries)}
    path.write_text(json.dumps(document | more))
    return path


def test_samples_are_the_queries_with_text(task):
    (sample,) = task.samples("val")
    assert (sample.video_id, sample.start_seconds, sample.end_seconds) == ("v", 10.0, 40.0)
    assert sample.query == "where did i put it?"
    assert [one.query for one in task.samples("train")] == ["where is the pan?", "when?"]


@pytest.mark.parametrize("text", ["Who", "who?", " WHO ?? ", "Who? ?"])
def test_a_question_is_lower_case_with_one_question_mark(text):
    assert question(text) == "who?"


@pytest.mark.parametrize(
    ("answer", "rows", "expected"),
    [
        ((4, 8), (0, 30), (5, 8)),  # rows 4 to 7
        ((4, 8), (3, 9), (2, 5)),
        ((4, 8), (6, 20), (1, 2)),  # half of it is left
        ((4, 8), (7, 20), (IGNORED, IGNORED)),
        ((4, 8), (8, 20), (0, 0)),
        ((4, 4), (0, 30), (5, 5)),  # no length: the row behind the instant
        ((4, 4), (5, 30), (0, 0)),
        ((4.4, 7.6), (0, 30), (5, 8)),  # nearest borders
        ((6, 4), (0, 30), (7, 7)),  # ends before it starts
    ],
)
def test_targets_are_the_places_of_the_first_and_last_row(folder, task, answer, rows, expected):
    assert places(task, sample_of(folder, *answer), *rows) == expected


def test_the_truth_is_the_query_as_written_and_its_span_in_the_video(task):
    (sample,) = task.samples("val")
    spans = (Span(start=14.0, end=18.0, score=1.0),)
    assert task.truth(sample) == Answer(
        video="v",
        task="natural_language_query",
        duration=40.0,
        queries=(QueryAnswer(query=" Where did I put it?? ", spans=spans),),
    )


@pytest.mark.parametrize(("start", "end"), [(6, 6), (6, 4)])
def test_an_answer_without_length_is_an_instant(folder, task, start, end):
    (query,) = task.truth(sample_of(folder, start, end)).queries
    assert query.spans == (Span(start=16.0, end=16.0, score=1.0),)


def test_the_pointer_is_the_head(task):
    context = HeadContext(width=8, llm=None, device=torch.device("cpu"), seed=0)
    assert isinstance(task.answers.build_head(context), PointerHead)
    assert (task.facts.query_place, task.facts.online) == ("after", False)
    assert task.answers.appended_tokens == 1


def test_the_loss_is_the_cross_entropy_of_start_and_end(task):
    outputs = {name: torch.zeros(3, 5, requires_grad=True) for name in ("start", "end")}
    targets = {
        "start": torch.tensor([[0], [IGNORED], [3]]),
        "end": torch.tensor([[0], [IGNORED], [4]]),
    }
    found = task.loss(outputs, targets)
    assert found.total.item() == pytest.approx(4 * np.log(5))
    assert found.num_targets == 4
    nothing = task.loss(outputs, {name: one * 0 + IGNORED for name, one in targets.items()})
    nothing.total.backward()
    assert (nothing.total.item(), nothing.num_targets) == (0, 0)


def test_answers_are_seconds_of_the_clip_best_first(task, folder):
    first, filled = submission(task, folder / "p.json", window_output(0, 30, first=4, last=7))
    assert first["predicted_times"][0] == [4.0, 8.0]
    assert (first["clip_uid"], first["annotation_uid"], first["query_idx"]) == ("c", "a", 0)
    assert filled == entry([(0.0, 30.0)], query_idx=1)
    assert task.score(folder / "p.json")["Rank@1 mIoU@0.5"] == 50.0


def test_answers_differ_and_never_end_before_they_start(task, folder):
    output = window_output(0, 30, first=9, last=3)
    answers = submission(task, folder / "p.json", output)[0]["predicted_times"]
    assert len(answers) == 5
    assert all(start < end for start, end in answers)
    overlaps = [
        (min(b, d) - max(a, c)) / (max(b, d) - min(a, c))
        for index, (a, b) in enumerate(answers)
        for c, d in answers[:index]
    ]
    assert max(overlaps) <= 0.5


def test_a_window_that_says_nothing_loses_to_one_that_answers(task, folder):
    output = [
        window_output(0, 16, first=2, last=3, nothing=5.0),
        window_output(10, 26, first=8, last=9, num_context=6),
        window_output(20, 30, first=0, last=9, nothing=5.0, num_context=6, padding=6),
    ]
    answers = submission(task, folder / "p.json", *output)[0]["predicted_times"]
    assert answers[0] == [18.0, 20.0]


def test_predictions_of_training_queries_are_not_filled_up(task, folder):
    output = window_output(0, 30, first=4, last=7)
    results = submission(task, folder / "p.json", output, subset="train")
    assert [(one["clip_uid"], one["query_idx"]) for one in results] == [("t", 0)]


def test_baselines_are_random_windows_and_the_commonest_training_windows(task, folder):
    scores = task.baselines(folder / "baselines")
    assert list(scores) == ["chance", "majority"]
    path = folder / "baselines" / "majority.json"
    first, second = json.loads(path.read_text())["results"]
    # Starts 0 and 1 of 30 s share a bin, and both lengths are 6 s: their mean.
    assert first["predicted_times"] == second["predicted_times"] == [pytest.approx([0.5, 6.5])]


def test_queries_without_an_entry_are_told(task, folder, caplog):
    path = write_results(folder / "p.json", entry())
    with caplog.at_level(logging.WARNING):
        assert task.score(path)["mIoU"] == 100.0
    assert "1 of 2 queries have no entry" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (entry(clip_uid="x"), r"results\.0: .* are \('x', 'a', 0\), expected .* 2 validation"),
        (entry(query_idx=2), r"\('c', 'a', 2\)"),
        (entry(query_idx=-1), r"\('c', 'a', -1\)"),
        (entry(times=()), r"results\.0, field 'predicted_times' is \[\]: .* at least 1 item"),
        (entry(times=[(1.0,)]), r"predicted_times, field '0' is \[1\.0\]: .* at least 2 items"),
        (entry(times=[(1.0, float("nan"))]), r"field '1' is nan: .* finite"),
    ],
)
def test_wrong_entries_are_refused(task, folder, wrong, message):
    path = write_results(folder / "p.json", wrong)
    with pytest.raises(AnnotationError, match=message) as caught:
        task.score(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"results": []}, "field 'results' is empty"),
        ({"version": "2.0"}, "field 'version' is '2.0'"),
        ({"challenge": "mq"}, "field 'challenge' is 'mq'"),
    ],
)
def test_wrong_files_are_refused(task, folder, more, message):
    path = write_results(folder / "p.json", entry(), **more)
    with pytest.raises(AnnotationError, match=message):
        task.score(path)


def test_a_file_cut_short_or_without_queries_is_refused(task, folder):
    path = write_results(folder / "p.json", entry())
    path.write_text(path.read_text()[:-5])
    with pytest.raises(AnnotationError, match="Is the file cut short"):
        task.score(path)
    write_clips(folder / "nlq_val.json", queried_clip("c"))
    with pytest.raises(AnnotationError, match="no val clip has a query"):
        load_task("natural_language_query", folder, {}).samples("val")


def test_an_unknown_option_is_named(folder):
    with pytest.raises(ConfigError, match="unknown key 'moments'"):
        load_task("natural_language_query", folder, {"moments": 3})


def test_a_submission_of_test_queries_is_made_whole(folder):
    asked = queried_clip("z", {"query": "Who?"}, {"query": None}, {"query": "When?"})
    write_clips(folder / "nlq_test_unannotated.json", asked, split="test")
    task = load_task("natural_language_query", folder, {})
    first, second = task.samples("test")
    assert (first.query, second.query) == ("who?", "when?")
    assert (first.annotated, task.truth(first)) == (False, None)
    output = SampleOutput(
        sample=first, times_R2=ROWS, windows=[window_output(0, 30, first=4, last=7)]
    )
    task.write_predictions([output], folder / "p.json")
    results = json.loads((folder / "p.json").read_text())["results"]
    assert [one["query_idx"] for one in results] == [0, 1, 2]
    assert results[0]["predicted_times"][0] == [4.0, 8.0]
    assert [one["predicted_times"] for one in results[1:]] == [[[0.0, 30.0]]] * 2
    assert list(task.violations(folder / "p.json", "test")) == []
    assert task.said(output).queries[0].query == "who?"


SEGMENTS = {"retrieval": "segments", "memory_tokens": "none", "num_segments": 3}
"""The paper's head on the text's last state."""


@pytest.mark.parametrize(
    ("start", "stop", "segment", "count"),
    [
        (0, 10, [[0.4, 0.8]], 1),
        (5, 10, [[0.0, 0.6]], 1),
        (7, 12, [], IGNORED),  # a quarter of the answer
        (10, 20, [], 0),
    ],
)
def test_a_segment_is_a_fraction_of_the_window(folder, start, stop, segment, count):
    task = load_task("natural_language_query", folder, SEGMENTS)
    targets = task.targets(task.samples("val")[0], ROWS, Window(sample=0, start=start, stop=stop))
    np.testing.assert_allclose(targets["segments"], np.reshape(segment, (-1, 2)), atol=1e-6)
    assert targets["count"].tolist() == [count]
    assert targets["classes"].tolist() == [0] * len(segment)


def test_segments_are_learned_as_a_set_and_answered_best_first(folder):
    task = load_task("natural_language_query", folder, SEGMENTS)
    assert task.answers.appended_tokens == 0
    head = task.answers.build_head(HeadContext(width=8, llm=None, device=None, seed=0))
    outputs = head(states_of(torch.randn(2, 5, 8), final=torch.randn(2, 1, 8)))
    assert outputs["classes"].shape == (2, 3, 2)
    assert outputs["segments"].shape == (2, 3, 2)
    targets = {
        "classes": torch.tensor([[0], [IGNORED]]),
        "segments": torch.tensor([[[0.4, 0.8]], [[math.nan] * 2]]),
        "count": torch.tensor([[1], [0]]),
    }
    loss = task.loss(outputs, targets)
    loss.total.backward()
    assert loss.num_targets == 2
    window = Window(sample=0, start=0, stop=10)
    arrays = {
        "classes": np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]], np.float32),
        "segments": np.array([[0.1, 0.2], [0.4, 0.8], [0.41, 0.79]], np.float32),
    }
    found = submission(task, folder / "p.json", WindowOutput(window=window, arrays=arrays))
    # The third shares more than half with the better second.
    np.testing.assert_allclose(found[0]["predicted_times"], [[4.0, 8.0], [1.0, 2.0]], atol=1e-5)
