import json
import math

import numpy as np
import pytest
import torch

from cache_schema.errors import ConfigError
from tests.train.annotations.test_qvhighlights import ASKED, LINE, write
from tests.train.outputs import head_context, output_of, states_of, targets_of
from train.answer import Answer, QueryAnswer, Span
from train.task import SampleOutput, Window, WindowOutput
from train.tasks import load_task


@pytest.fixture
def task(tmp_path):
    write(tmp_path / "highlight_train.jsonl", {**LINE, "qid": 1}, {**LINE, "qid": 2, "duration": 8})
    write(tmp_path / "highlight_val.jsonl", LINE, {**LINE, "qid": 8, "query": "A cat."})
    return load_task("highlight_detection", tmp_path, {})


def rows(num_rows, rows_per_second):
    starts = np.arange(num_rows) / rows_per_second
    return np.stack([starts, starts + 1 / rows_per_second], axis=1)


def column(*values):
    return np.array(values, np.float32)[:, None]


def written(task, folder, outputs):
    task.write_predictions(outputs, folder / "p.jsonl")
    lines = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
    return {line["qid"]: line for line in lines}


def test_a_sample_is_a_query_and_its_whole_video(task):
    first, second = task.samples("val")
    assert (first.video_id, first.query, second.query) == ("v_0_7", "A dog jumps.", "A cat.")
    assert (first.start_seconds, first.end_seconds) == (0.0, math.inf)


def test_a_row_learns_the_mean_saliency_of_the_clip_at_its_centre(task):
    sample = task.samples("val")[0]
    saliency = targets_of(task, sample, rows(8, 1))["saliency"]
    nan = float("nan")
    expected = [0, 0, 5 / 3, 5 / 3, 7 / 3, 7 / 3, nan, nan]  # 7 seconds are 3 clips
    np.testing.assert_allclose(saliency, expected, rtol=1e-6)
    assert saliency.dtype == np.float32
    finer = targets_of(task, sample, rows(32, 4))["saliency"]
    np.testing.assert_allclose(finer, np.repeat(expected, 4), rtol=1e-6)


def test_rows_that_only_give_a_past_are_no_targets(task):
    saliency = targets_of(task, task.samples("val")[0], rows(6, 1), num_context=3)["saliency"]
    assert np.isnan(saliency).tolist() == [True] * 3 + [False] * 3
    window = Window(sample=0, start=2, stop=5, num_context=0)
    part = task.targets(task.samples("val")[0], rows(6, 1), window)["saliency"]
    np.testing.assert_allclose(part, [5 / 3, 5 / 3, 7 / 3], rtol=1e-6)


def test_the_truth_is_the_windows_and_the_share_of_full_saliency_of_each_clip(task):
    saliency = (
        Span(start=0.0, end=2.0, score=0.0),
        Span(start=2.0, end=4.0, score=0.416667),  # (4 + 1 + 0) / 3 / 4
        Span(start=4.0, end=6.0, score=0.583333),  # (2 + 2 + 3) / 3 / 4
    )
    spans = (Span(start=2.0, end=6.0, score=1.0),)
    assert task.truth(task.samples("val")[0]) == Answer(
        video="v_0_7",
        task="highlight_detection",
        duration=7.0,
        queries=(QueryAnswer(query="A dog jumps.", spans=spans, saliency=saliency),),
    )


def test_the_loss_is_lowest_where_the_score_is_the_share_of_full_saliency(task):
    wanted = torch.tensor([[0.0, 1.0, 3.0, 4.0, math.nan]])
    logits = torch.zeros(1, 5, 1, requires_grad=True)
    loss = task.loss({"saliency": logits}, {"saliency": wanted})
    loss.total.backward()
    # The gradient of cross-entropy is sigmoid(0) - target.
    expected = [0.5 - value / 4 for value in (0, 1, 3, 4)] + [0]
    assert logits.grad.flatten().tolist() == pytest.approx(expected)
    assert loss.num_targets == 4
    assert loss.total.item() == pytest.approx(4 * math.log(2))


def test_a_window_of_past_only_gives_a_zero_that_has_a_graph(task):
    logits = torch.ones(1, 2, 1, requires_grad=True)
    loss = task.loss({"saliency": logits}, {"saliency": torch.full((1, 2), math.nan)})
    loss.total.backward()
    assert loss.total.item() == loss.num_targets == 0
    assert logits.grad.tolist() == [[[0.0], [0.0]]]


def test_the_head_is_one_linear_layer(task):
    head = task.answers.build_head(head_context(5))
    assert head(states_of(torch.randn(2, 3, 5)))["saliency"].shape == (2, 3, 1)
    assert sum(value.numel() for value in head.parameters()) == 5 + 1


def test_the_query_stands_first_since_rows_cannot_see_behind_them(task):
    assert task.facts.query_place == "before"
    assert task.answers.appended_tokens == 0


def test_a_clip_gets_the_mean_of_its_rows(task, tmp_path):
    sample = task.samples("val")[0]
    scores = column(0, 2, 4, 6, 8, 9, 99, 99)  # rows 6 and 7 lie behind the last clip
    line = written(task, tmp_path, [output_of(sample, rows(8, 1), saliency=scores)])[7]
    assert line["pred_saliency_scores"] == [1, 5, 8.5]
    assert (line["vid"], line["query"]) == ("v_0_7", "A dog jumps.")


def test_a_clip_without_a_row_takes_the_one_at_its_middle(task, tmp_path):
    times = np.array([[0.0, 4.0]])  # its centre lies in clip 1
    line = written(task, tmp_path, [output_of(task.samples("val")[0], times, saliency=column(3))])[
        7
    ]
    assert line["pred_saliency_scores"] == [3, 3, 3]


def test_context_rows_are_not_taken_again(task, tmp_path):
    windows = [
        WindowOutput(
            window=Window(sample=0, start=0, stop=4), arrays={"saliency": column(1, 1, 2, 2)}
        ),
        WindowOutput(
            window=Window(sample=0, start=2, stop=6, num_context=2),
            arrays={"saliency": column(50, 50, 3, 3)},
        ),
    ]
    sample = task.samples("val")[0]
    output = SampleOutput(sample=sample, times_R2=rows(6, 1), windows=windows)
    assert written(task, tmp_path, [output])[7]["pred_saliency_scores"] == [1, 2, 3]


def test_windows_are_the_runs_in_the_upper_half_of_the_range(task, tmp_path):
    write(tmp_path / "highlight_val.jsonl", {**LINE, "duration": 12})
    task = load_task("highlight_detection", tmp_path, {})
    scores = column(4, 5, 0, 1, 9, 2)
    times = np.stack([np.arange(6), np.arange(6) + 1], axis=1) * 2.0
    line = written(task, tmp_path, [output_of(task.samples("val")[0], times, saliency=scores)])[7]
    assert line["pred_relevant_windows"] == [[8, 10, 9.0], [2, 4, 5.0]]


def test_a_submission_of_validation_queries_is_made_whole(task, tmp_path):
    output = output_of(task.samples("val")[0], rows(6, 1), saliency=column(*range(6)))
    lines = written(task, tmp_path, [output])
    assert lines.keys() == {7, 8}
    assert lines[8]["pred_saliency_scores"] == [0, 0, 0]
    assert lines[8]["pred_relevant_windows"] == [[0, 6, 0]]
    assert task.score(tmp_path / "p.jsonl").keys() >= {"MR-full-mAP", "HL-min-Fair-mAP_unrounded"}


def test_a_submission_of_training_queries_holds_these(task, tmp_path):
    output = output_of(task.samples("train")[0], rows(6, 1), saliency=column(*range(6)))
    assert written(task, tmp_path, [output]).keys() == {1}


def test_targets_given_back_as_scores_are_near_perfect(task, tmp_path):
    outputs = []
    for sample in task.samples("val"):
        saliency = targets_of(task, sample, rows(6, 1))["saliency"]
        outputs.append(output_of(sample, rows(6, 1), saliency=saliency[:, None]))
    written(task, tmp_path, outputs)
    scores = task.score(tmp_path / "p.jsonl")
    assert scores["MR-full-mAP"] == 100.0  # the moment is clips 1 and 2
    assert scores["HL-min-Fair-Hit1"] == 100.0
    assert task.quality(scores) == scores["HL-min-VeryGood-mAP_unrounded"] / 100
    assert task.quality({}) is None


def test_submissions_with_scores_or_windows_only_are_scored(task, tmp_path):
    scores = [{"qid": qid, "pred_saliency_scores": [0.1, 0.2]} for qid in (7, 8)]
    windows = [{"qid": qid, "pred_relevant_windows": [[2, 6, 1.0]]} for qid in (7, 8)]
    only_scores = task.score(write(tmp_path / "s.jsonl", *scores))
    only_windows = task.score(write(tmp_path / "w.jsonl", *windows))
    assert {key[:2] for key in only_scores} == {"HL"}
    assert {key[:2] for key in only_windows} == {"MR"}
    assert only_windows["MR-full-R1@0.7"] == 100.0
    assert only_windows["MR-long-mAP"] is only_windows["MR-long-mAP_unrounded"] is None


def test_a_query_without_a_moment_counts_for_highlights_only(task, tmp_path):
    empty = {"relevant_windows": [], "relevant_clip_ids": [], "saliency_scores": []}
    write(tmp_path / "highlight_val.jsonl", LINE, {**LINE, **empty, "qid": 8})
    task = load_task("highlight_detection", tmp_path, {})
    given = {"pred_saliency_scores": [0, 1, 0], "pred_relevant_windows": [[2, 6, 1.0]]}
    lines = [{"qid": qid, **given} for qid in (7, 8)]
    scores = task.score(write(tmp_path / "p.jsonl", *lines))
    assert scores["MR-full-mAP"] == 100.0
    assert scores["HL-min-VeryGood-Hit1"] == 50.0


def test_baselines_are_scored_from_files(task, tmp_path):
    baselines = task.baselines(tmp_path / "b")
    lines = (tmp_path / "b" / "majority.jsonl").read_text().splitlines()
    # Mean training saliency of clips 0 to 2; the fourth clip of one video is cut off.
    expected = pytest.approx([0, 5 / 3, 7 / 3], abs=1e-6)
    assert json.loads(lines[0])["pred_saliency_scores"] == expected
    assert baselines["majority"] == task.score(tmp_path / "b" / "majority.jsonl")
    assert baselines["chance"] == task.baselines(tmp_path / "b")["chance"]


def test_an_unknown_option_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'clip_seconds'"):
        load_task("highlight_detection", tmp_path, {"clip_seconds": 2})


def test_a_submission_of_test_queries_is_made_whole(task, tmp_path):
    write(tmp_path / "highlight_test.jsonl", {**ASKED, "qid": 30}, {**ASKED, "qid": 31})
    first, _ = task.samples("test")
    assert (first.annotated, first.record_ends, task.truth(first)) == (False, (), None)
    outputs = [output_of(first, rows(6, 1), saliency=column(0, 0, 5, 5, 0, 0))]
    lines = written(task, tmp_path, outputs)
    assert set(lines) == {30, 31}
    assert lines[30]["pred_relevant_windows"][0][:2] == [2, 4]
    assert lines[31]["pred_saliency_scores"] == [0.0, 0.0, 0.0]
    assert list(task.violations(tmp_path / "p.jsonl", "test")) == []
    assert len(list(task.violations(tmp_path / "p.jsonl", "val"))) == 3
