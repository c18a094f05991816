import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.annotations.test_ego4d_lta import entry, write
from tests.train.outputs import head_context, output_of, targets_of, whole_window
from tests.train.toy import learnable, make_store
from train.answer import Answer, Future, Segment
from train.cli import train
from train.task import IGNORED
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden" / "long_term_anticipation"
SMALL = {"num_input_actions": 2, "num_future_actions": 2, "num_sequences": 2}
X = IGNORED


def clip(name, verbs, seconds=1.0):
    """One action per ``seconds``; the noun is the verb's remainder of two."""
    return [
        entry(name, index, index * seconds, (index + 1) * seconds, verb, verb % 2)
        for index, verb in enumerate(verbs)
    ]


@pytest.fixture
def folder(tmp_path):
    taxonomy = {"verbs": ["cut", "mix", "put"], "nouns": ["pan", "egg"]}
    (tmp_path / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    write(tmp_path, [*clip("t", [0, 1, 2, 0, 1, 2, 2]), *clip("short", [1])], "train")
    write(tmp_path, [*clip("a", [0, 1, 2, 0, 1]), *clip("b", [1, 2, 0, 1])])
    return tmp_path


@pytest.fixture
def task(folder):
    return load_task("long_term_anticipation", folder, SMALL)


def rows(num_rows, seconds=0.5, start=10.0):
    starts = start + seconds * np.arange(num_rows)
    return np.stack([starts, starts + seconds], axis=1)


def outputs_of(task, subset="val", num_rows=10):
    """Outputs that name each row's own targets."""
    outputs = []
    for sample in task.samples(subset):
        times = rows(num_rows)
        targets = targets_of(task, sample, times)
        logits = {
            kind: 60 * np.eye(count, dtype=np.float32)[np.maximum(targets[kind], 0)]
            for kind, count in (("verb", 3), ("noun", 2))
        }
        outputs.append(output_of(sample, times, **logits))
    return outputs


def submission(task, folder, outputs):
    task.write_predictions(outputs, folder / "p.json")
    return json.loads((folder / "p.json").read_text())


def golden(case):
    options = json.loads((GOLDEN / case / "eval_args.json").read_text())
    return load_task("long_term_anticipation", GOLDEN / case, options)


@pytest.mark.parametrize("case", ["typical_random", "edge_swaps_and_shifts", "edge_best_of_k"])
def test_scores_are_those_of_the_official_evaluator(case):
    expected = json.loads((GOLDEN / case / "expected.json").read_text())
    assert len(expected) == 63
    scores = golden(case).score(GOLDEN / case / "predictions.json")
    assert scores == pytest.approx(expected, abs=1e-9)


def test_the_validation_file_alone_is_scored(tmp_path):
    for name in ("fho_lta_val.json", "fho_lta_taxonomy.json"):
        shutil.copy(GOLDEN / "typical_random" / name, tmp_path)
    task = load_task("long_term_anticipation", tmp_path / "fho_lta_val.json", {})
    scores = task.score(GOLDEN / "typical_random" / "predictions.json")
    assert task.quality(scores) == pytest.approx(1 - scores["action_ED_19_by_rule"])


def test_a_sample_is_a_clip_in_the_seconds_of_its_video(task):
    first, _ = task.samples("val")
    assert (first.video_id, first.start_seconds, first.end_seconds) == ("video-a", 10.0, 70.5)
    assert [one.video_id for one in task.samples("train")] == ["video-short", "video-t"]


def test_a_row_learns_what_follows_the_action_it_sees(task):
    sample, _ = task.samples("val")
    targets = targets_of(task, sample, rows(12, start=9.5))
    before, seen = [[0, 1]], [[1, 2], [2, 0], [0, 1], [1, X], [X, X]]
    # The first row ends where the first action begins, the last one lies behind the last action.
    assert targets["verb"].tolist() == before + [one for one in seen for _ in (0, 1)] + seen[-1:]
    assert targets["noun"].tolist()[:3] == [[0, 1], [1, 0], [1, 0]]


def test_the_truth_is_the_actions_and_what_follows_the_visible_ones(task):
    sample, _ = task.samples("val")
    names = ["cut pan", "mix egg", "put pan", "cut pan", "mix egg"]
    assert task.truth(sample) == Answer(
        video="video-a",
        task="long_term_anticipation",
        duration=70.5,
        segments=tuple(
            Segment(start=second, end=second + 1, label=name, score=1.0)
            for second, name in zip((10.0, 11.0, 12.0, 13.0, 14.0), names, strict=True)
        ),
        futures=(
            Future(time=12.0, actions=("put pan", "cut pan")),
            Future(time=13.0, actions=("cut pan", "mix egg")),
        ),
    )


def test_the_truth_of_a_clip_that_is_too_short_for_a_window_has_no_future(task):
    truth = task.truth(task.samples("train")[0])
    assert [one.label for one in truth.segments] == ["mix egg"]
    assert truth.futures == ()


def test_context_rows_are_no_targets(task):
    sample, _ = task.samples("val")
    targets = targets_of(task, sample, rows(4), num_context=3)
    assert targets["verb"].tolist() == [[X, X]] * 3 + [[2, 0]]
    window = whole_window(rows(2))
    assert task.targets(sample, rows(4), window)["verb"].tolist() == [[1, 2]] * 2


def test_of_actions_at_once_the_one_that_ends_first_is_seen(folder):
    spans = [(0, 4), (1, 2), (1.5, 3), (5, 6)]  # the first one goes on behind the next two
    write(folder, [entry("a", i, s, e, [0, 1, 2, 1][i]) for i, (s, e) in enumerate(spans)])
    task = load_task("long_term_anticipation", folder, SMALL)
    targets = targets_of(task, task.samples("val")[0], rows(6, 1.0))
    # Rows end at 1, 2, ...: in action 0, at the end of 1, of 2, of 0, in the gap, in action 3.
    assert targets["verb"].tolist() == [[1, 2], [2, 1], [1, X], [1, 2], [1, 2], [X, X]]


def test_targets_given_back_as_scores_are_right_everywhere(task, folder):
    windows = submission(task, folder, outputs_of(task))
    assert set(windows) == {"a_1", "a_2", "b_1"}
    scores = task.score(folder / "p.json")
    assert scores == dict.fromkeys(scores, 0.0)
    assert task.main_metric == "action_ED_1_by_rule"
    assert task.lower_is_better(task.main_metric)
    assert task.quality(scores) == 1.0


def test_a_window_takes_the_latest_row_that_ends_with_its_last_action(folder):
    task = load_task("long_term_anticipation", folder, SMALL | {"decoder": "argmax"})
    sample, _ = task.samples("val")
    times = rows(10, 0.7)
    numbers = np.arange(10) % 3
    verbs = np.eye(3, dtype=np.float32)[np.stack([numbers, numbers], axis=1)]
    output = output_of(sample, times, verb=verbs, noun=np.zeros((10, 2, 2), np.float32))
    windows = submission(task, folder, [output])
    # Actions 1 and 2 end at 12 and 13; the rows before are those that end at 11.4 and 12.8.
    assert [windows[key]["verb"][0][0] for key in ("a_1", "a_2")] == [1 % 3, 3 % 3]


def test_later_rows_never_change_a_window(task, folder):
    first, _ = outputs_of(task)
    before = submission(task, folder, [first])
    changed = {name: values.copy() for name, values in first.windows[0].arrays.items()}
    for values in changed.values():
        values[first.times_R2[:, 1] > 12.0 + 1e-9] *= -1
    after = submission(task, folder, [output_of(first.sample, first.times_R2, **changed)])
    assert before["a_1"] == after["a_1"]
    assert before["a_2"] != after["a_2"]


def test_windows_that_no_row_speaks_for_get_the_most_frequent_actions(task, folder):
    first, _ = outputs_of(task)
    late = {name: values[-2:] for name, values in first.windows[0].arrays.items()}
    windows = submission(task, folder, [output_of(first.sample, first.times_R2[-2:], **late)])
    # Verbs 1 and 2 are there three times each; 1 comes first.
    frequent = {"verb": [[1, 1], [2, 2]], "noun": [[1, 1], [0, 0]]}
    assert windows == {"a_1": frequent, "a_2": frequent, "b_1": frequent}


def test_training_clips_are_written_by_themselves(task, folder):
    windows = submission(task, folder, outputs_of(task, "train"))
    assert set(windows) == {f"t_{index}" for index in range(1, 5)}


@pytest.mark.parametrize("decoder", ["argmax", "sample", "consensus"])
def test_every_decoder_gives_the_same_candidates_in_any_order(folder, decoder):
    task = load_task("long_term_anticipation", folder, SMALL | {"decoder": decoder})
    rng = np.random.default_rng(0)
    outputs = [
        output_of(
            sample,
            rows(10),
            verb=rng.normal(size=(10, 2, 3)).astype(np.float32),
            noun=rng.normal(size=(10, 2, 2)).astype(np.float32),
        )
        for sample in task.samples("val")
    ]
    windows = submission(task, folder, outputs)
    assert windows == submission(task, folder, outputs[::-1])
    assert np.array(windows["a_1"]["verb"]).shape == (2, 2)


def test_the_loss_weighs_near_actions_more_and_has_a_mean_weight_of_one(task):
    head = task.answers.build_head(head_context(8))
    assert sum(one.numel() for one in head.parameters()) == 2 * 2 * 8 + (8 + 1) * (3 + 2)
    outputs = {"verb": torch.zeros(1, 2, 2, 3), "noun": torch.zeros(1, 2, 2, 2)}
    targets = {"verb": torch.tensor([[[1, X], [X, X]]]), "noun": torch.tensor([[[0, 1], [X, X]]])}
    loss = task.loss(outputs, targets)
    near, far = 1 / 0.9, 0.8 / 0.9
    assert loss.num_targets == 3
    assert loss.total.item() == pytest.approx(near * np.log(3) + (near + far) * np.log(2))


def test_a_batch_without_targets_has_a_zero_with_a_gradient(task):
    outputs = {"verb": torch.zeros(1, 1, 2, 3, requires_grad=True), "noun": torch.zeros(1, 1, 2, 2)}
    targets = dict.fromkeys(("verb", "noun"), torch.full((1, 1, 2), X))
    loss = task.loss(outputs, targets)
    loss.total.backward()
    assert (loss.total.item(), loss.num_targets) == (0.0, 0)


def test_baselines_see_no_video(task, folder):
    scores = task.baselines(folder)
    assert scores == task.baselines(folder)
    assert list(scores) == ["chance", "majority", "order", "bigram"]
    # The futures are 2 0, 0 1 and 0 1. Majority says 1 1 or 2 2.
    assert scores["majority"]["val_0_ED_1"] == pytest.approx(0.5)
    # Seen last are 1, 2 and 2. In training 2 follows both (0 does once, too, but is rarer).
    assert scores["bigram"]["val_0_ED_0"] == pytest.approx((0 + 1 + 1) / 3)
    assert scores["bigram"]["val_0_ED_1"] == pytest.approx((1 + 2 + 2) / 2 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(z_1=p["a_1"]), "window 'z_1' is not among the 3 annotated ones"),
        (lambda p: p.pop("a_2"), "1 of 3 windows have no prediction, the first is 'a_2'"),
        (lambda p: p.update(a_1=[]), r"window 'a_1', field 'verb' is \[\], expected 2 lists of 2"),
        (lambda p: p["a_1"].pop("noun"), "window 'a_1', field 'noun' is None, expected 2 lists"),
        (lambda p: p["a_1"]["verb"].pop(), r"'verb' is \[\[1, 1\]\], expected 2 lists of 2 ids"),
        (lambda p: p["a_1"]["verb"][1].pop(), "field 'verb' is .*, expected 2 lists of 2 ids"),
        (lambda p: p["a_1"].update(verb=[[1, 3]] * 2), "3.*, expected 2 lists of 2 ids below 3"),
        (lambda p: p["a_1"].update(verb=[[1, 0.5]] * 2), "0.5.*expected 2 lists of 2 ids below 3"),
        (lambda p: p["a_1"].update(verb=[[1, float("nan")]] * 2), "nan.*, expected 2 lists"),
        (lambda p: p.clear(), "3 of 3 windows have no prediction"),
    ],
)
def test_a_wrong_submission_is_refused(task, folder, change, message):
    predictions = {
        key: {"verb": [[1, 1]] * 2, "noun": [[1, 1]] * 2} for key in ("a_1", "a_2", "b_1")
    }
    change(predictions)
    (folder / "p.json").write_text(json.dumps(predictions))
    with pytest.raises(AnnotationError, match=r"p\.json: " + f".*{message}"):
        task.score(folder / "p.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a_1": {"verb": [['])
def test_a_broken_submission_is_refused(task, folder, text):
    (folder / "p.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"p\.json: (not valid JSON|got list)"):
        task.score(folder / "p.json")


def test_clips_too_short_for_any_window_are_told(folder):
    task = load_task("long_term_anticipation", folder, {})
    with pytest.raises(AnnotationError, match="No validation clip has 24 actions"):
        task.score(folder / "p.json")


def test_a_training_that_could_not_be_scored_takes_no_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = [f"video-{clip}" for clip in ("t", "short", "a", "b")]
    make_store(folder / "f.zarr", {name: learnable(name, 150) for name in names})
    words = ["--features", "f.zarr", "--task", "long_term_anticipation", "--annotations", "."]
    with pytest.raises(AnnotationError, match="No validation clip has 24 actions"):
        CliRunner().invoke(
            train, [*words, "--llm", "none", "--device", "cpu"], catch_exceptions=False
        )
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_input_actions", 0), ("num_future_actions", 1), ("num_sequences", 0), ("discount", 1.5)],
)
def test_impossible_options_are_refused(folder, option, value):
    with pytest.raises(ConfigError, match=f"{option} is {value}, must be"):
        load_task("long_term_anticipation", folder, {option: value})


def test_a_submission_of_test_clips_is_made_whole(folder):
    entries = [*clip("y", range(5)), *clip("z", range(4))]
    keys = ("verb", "verb_label", "noun_label")
    unlabelled = [{key: one[key] for key in one if key not in keys} for one in entries]
    path = folder / "fho_lta_test_unannotated.json"
    path.write_text(json.dumps({"version": "v2", "split": "test", "clips": unlabelled}))
    task = load_task("long_term_anticipation", folder, SMALL)
    first, second = task.samples("test")
    assert not first.annotated
    times = rows(10)
    logits = {"verb": np.zeros((10, 2, 3), np.float32), "noun": np.zeros((10, 2, 2), np.float32)}
    found = submission(task, folder, [output_of(first, times, **logits)])
    # Two visible actions and two more behind them: of five, two windows; of four, one.
    assert set(found) == {"y_1", "y_2", "z_1"}
    # Of the training actions mix egg and put pan are the most frequent, three times each.
    assert sorted(found["z_1"]["verb"]) == [[1, 1], [2, 2]]
    assert task.said(output_of(first, times, **logits)).futures
    # The challenge asks for more than these options give.
    told = list(task.violations(folder / "p.json", "test"))
    assert len(told) == 6
    assert all("expected 5 lists of 20 ids" in one for one in told)
    assert second.target.clip.clip_id == "z"
