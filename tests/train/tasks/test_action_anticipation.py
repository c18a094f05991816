import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.annotations.annotation_folders import (
    epic_folder,
    epic_row,
    epic_test_file,
    epic_test_row,
    write,
)
from tests.train.outputs import head_context, output_of, targets_of
from train.answer import Answer, Segment
from train.task import IGNORED, Window
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden" / "action_anticipation"
TRAIN = [
    epic_row("t0", "00.00", "01.00", 3, 10, video="P03_01"),
    epic_row("t1", "02.00", "03.50", 3, 2, video="P03_01"),
    epic_row("t2", "04.00", "04.50", 3, 2, video="P03_01"),
]
VAL = [
    epic_row("v0", "00.50", "02.00", 3, 10),
    epic_row("v1", "02.00", "04.00", 3, 2),
    epic_row("v2", "03.00", "03.50", 5, 2),  # inside v1
    epic_row("w0", "01.60", "02.50", 5, 2, video="P02_01"),
]
CUT_PAN, CUT_EGG, MIX_PAN = range(3)  # (3, 2), (3, 10), (5, 2)
X = IGNORED


@pytest.fixture
def folder(tmp_path):
    return epic_folder(tmp_path, train=TRAIN, val=VAL)


@pytest.fixture
def task(folder):
    return load_task("action_anticipation", folder, {})


def rows(num_rows, rows_per_second):
    starts = np.arange(num_rows) / rows_per_second
    return np.stack([starts, starts + 1 / rows_per_second], axis=1)


def submission(task, folder, outputs):
    task.write_predictions(outputs, folder / "p.json")
    return json.loads((folder / "p.json").read_text())


def one_hot(classes):
    """Logits of both steps: the class of the first one, nonsense for the second one."""
    first = 9 * np.eye(3, dtype=np.float32)[classes]
    return np.stack([first, -first], axis=1)


@pytest.mark.parametrize(
    "case", ["typical_random", "compose_from_verb_noun", "edge_missing_classes"]
)
def test_scores_are_those_of_the_official_evaluator(case):
    options = json.loads((GOLDEN / case / "eval_args.json").read_text())
    expected = json.loads((GOLDEN / case / "expected.json").read_text())
    assert len(expected) == 9
    task = load_task("action_anticipation", GOLDEN / case, options)
    scores = task.score(GOLDEN / case / "predictions.json")
    assert scores == pytest.approx(expected, abs=1e-9)
    assert task.quality(scores) == pytest.approx(expected["overall_action_mt5r"] / 100)


def test_a_sample_is_a_whole_video_with_an_action(task):
    first, second = task.samples("val")
    assert (first.video_id, first.start_seconds, first.end_seconds) == ("P01_01", 0.0, math.inf)
    assert second.video_id == "P02_01"


def test_a_row_learns_what_goes_on_a_second_after_it_was_used_last(task):
    times = rows(8, 2)
    targets = targets_of(task, task.samples("val")[0], times)["action"]
    # The first row is used until the second one ends at 1.0, so it is to say what goes on till 2.0.
    assert targets[:, 0].tolist() == [CUT_EGG, CUT_PAN, CUT_PAN, MIX_PAN, CUT_PAN, X, X, X]
    assert targets[:-2, 1].tolist() == targets[2:, 0].tolist()
    fewer = targets_of(task, task.samples("val")[0], times, num_context=3)["action"]
    assert fewer.tolist() == [[X, X]] * 3 + targets[3:].tolist()


def test_the_row_that_decides_a_segment_learns_its_class(folder):
    task = load_task("action_anticipation", folder, {"steps": 1})
    truth = {"P01_01": {2.0: CUT_PAN, 3.0: MIX_PAN}, "P02_01": {1.6: MIX_PAN}}
    for per_second in (2, 4, 7, 30):
        for sample in task.samples("val"):
            times = rows(5 * per_second, per_second)
            targets = targets_of(task, sample, times)["action"]
            for start, column in truth[sample.video_id].items():
                row = np.flatnonzero(times[:, 1] <= start - 1 + 1e-6)[-1]
                assert targets[row].tolist() == [column]


def test_the_truth_is_the_annotated_actions(task):
    assert task.truth(task.samples("val")[0]) == Answer(
        video="P01_01",
        task="action_anticipation",
        duration=4.0,
        segments=(
            Segment(start=0.5, end=2.0, label="3 10", score=1.0),
            Segment(start=2.0, end=4.0, label="3 2", score=1.0),
            Segment(start=3.0, end=3.5, label="5 2", score=1.0),
        ),
    )


def test_the_number_of_steps_can_be_chosen(folder):
    task = load_task("action_anticipation", folder, {"steps": 4})
    targets = targets_of(task, task.samples("val")[0], rows(6, 2))["action"]
    assert targets.shape == (6, 4)
    head = task.answers.build_head(head_context(8))
    assert sum(one.numel() for one in head.parameters()) == 4 * 2 * 8 + (8 + 1) * 3


def test_all_steps_are_trained_by_one_mean(task):
    targets = torch.tensor([[[1, 2], [X, 0], [X, X]]])
    loss = task.loss({"action": torch.zeros(1, 3, 2, 3)}, {"action": targets})
    assert loss.num_targets == 3
    assert loss.total.item() == pytest.approx(3 * np.log(3))


def test_a_segment_takes_the_latest_row_that_ends_a_second_before_it(task, folder):
    sample, _ = task.samples("val")
    logits = one_hot([CUT_PAN, CUT_EGG, MIX_PAN, CUT_PAN, CUT_PAN])
    results = submission(task, folder, [output_of(sample, rows(5, 1), action=logits)])["results"]
    soft = np.exp([9, 0, 0]) / np.exp([9, 0, 0]).sum()
    assert results["v1"]["action"]["3,2"] == pytest.approx(soft[0], rel=1e-5)  # row till 1.0
    assert results["v2"]["action"]["3,10"] == pytest.approx(soft[0], rel=1e-5)  # row till 2.0
    # A verb's score is the sum of its actions'.
    assert results["v1"]["verb"]["3"] == pytest.approx(soft[0] + soft[1], rel=1e-5)
    assert results["v1"]["verb"]["0"] == 0.0
    assert results["v2"]["noun"]["2"] == pytest.approx(2 * soft[1], rel=1e-5)


def test_later_rows_never_change_a_segment(task, folder):
    sample, rng = task.samples("val")[0], np.random.default_rng(0)
    logits, times = rng.normal(size=(40, 2, 3)).astype(np.float32), rows(40, 8)
    before = submission(task, folder, [output_of(sample, times, action=logits)])["results"]
    logits[times[:, 1] > 1.0 + 1e-9] += 5 * np.eye(3, dtype=np.float32)[1]
    after = submission(task, folder, [output_of(sample, times, action=logits)])["results"]
    assert before["v1"] == after["v1"]
    assert before["v2"] != after["v2"]


def test_segments_without_a_row_get_uniform_scores(task, folder):
    sample, _ = task.samples("val")
    output = output_of(sample, rows(5, 1), action=one_hot([CUT_PAN] * 5))
    results = submission(task, folder, [output])["results"]
    third = pytest.approx(1 / 3, rel=1e-5)
    for narration in ("v0", "w0"):  # too early, no output
        assert results[narration]["action"] == {"3,2": third, "3,10": third, "5,2": third}


def test_a_submission_has_the_official_form(task, folder):
    output = output_of(task.samples("val")[1], rows(4, 2), action=one_hot([0, 1, 2, 0]))
    written = submission(task, folder, [output])
    header = {key: value for key, value in written.items() if key != "results"}
    assert header == {
        "version": "0.2",
        "challenge": "action_anticipation",
        "sls_pt": 1,
        "sls_tl": 3,
        "sls_td": 3,
    }
    assert written["results"].keys() == {"v0", "v1", "v2", "w0"}
    assert list(written["results"]["w0"]["verb"]) == [str(one) for one in range(6)]
    assert list(written["results"]["w0"]["noun"]) == [str(one) for one in range(11)]
    assert next(iter(written["results"]["w0"]["action"])) == "3,2"  # the best one comes first


def test_the_best_hundred_actions_are_listed(folder):
    pairs = [(verb, noun) for verb in range(12) for noun in range(12)]
    lines = [f"{index},{verb},{noun}" for index, (verb, noun) in enumerate(pairs)]
    write(folder / "classes.csv", "id,verb_class,noun_class", *lines)
    task = load_task("action_anticipation", folder, {})
    logits = np.arange(144, dtype=np.float32)[None, None].repeat(9, axis=0)
    output = output_of(task.samples("val")[0], rows(9, 2), action=logits)
    listed = submission(task, folder, [output])["results"]["v2"]["action"]
    assert list(listed) == [f"{verb},{noun}" for verb, noun in pairs[:43:-1]]
    scores = list(listed.values())
    # Tiny as they are, no two are equal.
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 100


def test_targets_given_back_as_scores_are_right_for_every_segment(folder):
    others = [f"{3 + noun},0,{noun}" for noun in range(9)]
    write(folder / "classes.csv", "id,verb_class,noun_class", "0,3,2", "1,3,10", "2,5,2", *others)
    task = load_task("action_anticipation", folder, {})
    outputs = []
    for sample in task.samples("val"):
        times = rows(20, 4)
        classes = np.maximum(targets_of(task, sample, times)["action"], 0)
        outputs.append(output_of(sample, times, action=9 * np.eye(12, dtype=np.float32)[classes]))
    submission(task, folder, outputs)
    scores = task.score(folder / "p.json")
    # v0 begins too early for any row: its class (3, 10) is lost, (3, 2) and (5, 2) are found.
    assert scores["overall_action_mt5r"] == pytest.approx(200 / 3)
    assert scores["unseen_action_mt5r"] == 100.0


def test_baselines_see_no_video(task, folder):
    scores = task.baselines(folder)
    assert scores == task.baselines(folder)
    assert list(scores) == ["chance", "majority", "bigram"]
    assert scores["majority"]["overall_action_mt5r"] == 100.0  # three classes are all in the top 5


def test_a_bigram_knows_what_follows_the_last_action_begun(folder):
    pairs = [f"{index},0,{index}" for index in range(9)]
    write(folder / "classes.csv", "id,verb_class,noun_class", "9,3,2", "10,3,10", "11,5,2", *pairs)
    scores = load_task("action_anticipation", folder, {}).baselines(folder)
    # Ties of the never seen go to the highest ids: 11 is among the best five even so.
    assert scores["bigram"]["overall_action_mt5r"] == 100.0


def golden_copy(folder, change):
    case = GOLDEN / "edge_missing_classes"
    predictions = json.loads((case / "predictions.json").read_text())
    change(predictions)
    (folder / "p.json").write_text(json.dumps(predictions))
    options = json.loads((case / "eval_args.json").read_text())
    return load_task("action_anticipation", case, options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, s: p.update(version="0.1"), "field 'version' is '0.1', expected '0.2'"),
        (lambda p, s: p.pop("challenge"), "field 'challenge' is None, expected 'action_antici"),
        (lambda p, s: p.update(sls_tl=7), "field 'sls_tl' is 7, expected 0 to 5"),
        (lambda p, s: p.update(results=[]), "field 'results' is missing or no object"),
        (lambda p, s: p["results"].update(z=s), "segment 'z' is not among the"),
        (lambda p, s: p["results"].pop("P85_02_3"), "segments have no prediction, .* 'P85_02_3'"),
        (lambda p, s: p["results"].update(P85_02_3=1), "'P85_02_3', got int, expected an object"),
        (lambda p, s: s.pop("noun"), "'P85_02_3', field 'noun' is missing"),
        (lambda p, s: s.pop("action"), "'P85_02_3', field 'action' is missing, though others"),
        (lambda p, s: s["verb"].pop("3"), "field 'verb' has 8 scores, expected 9"),
        (lambda p, s: s["action"].popitem(), "field 'action' has 24 scores, expected 25"),
        (lambda p, s: s["verb"].update({"9": s["verb"].pop("3")}), "'verb' has class '9', expec"),
        (lambda p, s: s["verb"].update(x=s["verb"].pop("3")), "'verb' has class 'x', expected"),
        (lambda p, s: s["verb"].update({"03": s["verb"].pop("4")}), "'verb' has class '03'"),
        (lambda p, s: s["verb"].update({"3": float("nan")}), "class '3' is nan, expected finite"),
        (lambda p, s: s["noun"].update({"0": "1"}), "'noun', class '0' is '1', expected a number"),
        (lambda p, s: s["action"].update({"9,1": s["action"].popitem()[1]}), "has '9,1', expected"),
        (lambda p, s: s["action"].update({"1": s["action"].popitem()[1]}), "has '1', expected 'v"),
        (lambda p, s: s["action"].update({"02,2": s["action"].popitem()[1]}), "an action twice"),
    ],
)
def test_a_wrong_submission_is_refused(tmp_path, change, message):
    task = golden_copy(tmp_path, lambda p: change(p, p["results"]["P85_02_3"]))
    with pytest.raises(AnnotationError, match=r"p\.json: " + f".*{message}"):
        task.score(tmp_path / "p.json")


@pytest.mark.parametrize("text", ["", '{"version": "0.2", "res', "[]"])
def test_a_broken_submission_is_refused(task, folder, text):
    (folder / "p.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"p\.json: (not valid JSON|got list)"):
        task.score(folder / "p.json")


def test_an_action_outside_the_class_list_is_named(folder):
    write(folder / "classes.csv", "id,verb_class,noun_class", "0,3,10", "1,3,2")
    task = load_task("action_anticipation", folder, {})
    message = r"EPIC_100_validation\.csv, record 'v2'.*\(5, 2\), expected one of the 2 pairs"
    with pytest.raises(AnnotationError, match=message):
        task.samples("val")


@pytest.mark.parametrize("option", ["steps", "verb_count", "noun_count", "action_count"])
def test_impossible_options_are_refused(folder, option):
    with pytest.raises(ConfigError, match=f"{option} is 0, must be at least 1"):
        load_task("action_anticipation", folder, {option: 0})


def test_a_submission_of_test_segments_is_made_whole(folder):
    epic_test_file(
        folder,
        epic_test_row("x0", "02.00", "03.00", video="P05_01"),
        epic_test_row("x1", "00.50", "01.00", video="P05_01"),
        epic_test_row("y0", "03.00", "04.00", video="P06_01"),
    )
    task = load_task("action_anticipation", folder, {"sls_pt": 5})
    first, second = task.samples("test")
    assert (first.video_id, second.video_id) == ("P05_01", "P06_01")
    outputs = [output_of(first, rows(8, 2), action=one_hot([MIX_PAN] * 8))]
    written = submission(task, folder, outputs)
    assert written["sls_pt"] == 5
    results = written["results"]
    assert set(results) == {"x0", "x1", "y0"}
    assert max(results["x0"]["action"], key=results["x0"]["action"].get) == "5,2"
    # Nothing was seen a second before the one, and nothing at all of the other.
    for narration in ("x1", "y0"):
        assert set(results[narration]["action"].values()) == {0.333333}
    assert list(task.violations(folder / "p.json", "test")) == []
    assert len(list(task.violations(folder / "p.json", "val"))) == 1


def test_without_the_lists_only_the_overall_recalls_are_scored(folder, caplog):
    task = load_task("action_anticipation", folder, {})
    outputs = [
        output_of(sample, rows(8, 2), action=one_hot([CUT_PAN] * 8))
        for sample in task.samples("val")
    ]
    submission(task, folder, outputs)
    whole = task.score(folder / "p.json")
    assert None not in (whole["unseen_action_mt5r"], whole["tail_action_mt5r"])
    for name in ("unseen_participant_ids_validation", "tail_verbs", "tail_nouns"):
        (folder / f"EPIC_100_{name}.csv").unlink()
    left = load_task("action_anticipation", folder, {}).score(folder / "p.json")
    overall = {key for key in whole if key.startswith("overall")}
    assert len(overall) == 3
    assert left == {key: whole[key] if key in overall else None for key in whole}
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("level", ["sls_pt", "sls_tl", "sls_td"])
def test_levels_of_supervision_go_from_0_to_5(folder, level):
    assert getattr(load_task("action_anticipation", folder, {level: 0}).options, level) == 0
    for wrong in (-1, 6):
        with pytest.raises(ConfigError, match=level):
            load_task("action_anticipation", folder, {level: wrong})


def test_counted_from_the_rows_own_end_as_the_paper_says(folder):
    used, literal = (
        load_task("action_anticipation", folder, {"counts_from": name}) for name in ("use", "row")
    )
    sample = used.samples("train")[0]
    times_R2 = np.stack([np.arange(20.0), 1 + np.arange(20.0)], axis=1)
    window = Window(sample=0, start=0, stop=20)
    by_use, by_row = (one.targets(sample, times_R2, window)["action"] for one in (used, literal))
    # Rows of a second are used until the next one ends: a second later than their own end.
    assert by_row[1:19].tolist() == by_use[:18].tolist()
    assert by_row.tolist() != by_use.tolist()
