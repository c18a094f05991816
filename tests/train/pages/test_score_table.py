from tests.train.pages.run_folders import checkpoint_of, config_of, log_of, result_of, write_run
from train.pages.run_facts import read_runs
from train.pages.score_table import score_tables


def finished(folder, metrics, *, task="toy", annotations="a", lower=(), **result):
    config = config_of((task,), annotations=(annotations,))
    made = result_of(
        metrics=metrics, main_metrics={task: "Acc"}, lower_is_better={task: lower}, **result
    )
    return write_run(folder, checkpoint=checkpoint_of(config), result=made)


def tables(*folders):
    return score_tables(read_runs(folders))


def best(table):
    return {
        line.metric: [
            name for name, cell in zip(table.columns, line.cells, strict=True) if cell.is_best
        ]
        for line in table.lines
    }


def test_the_best_of_a_line_is_marked_and_equal_ones_each(tmp_path):
    (table,) = tables(
        finished(tmp_path / "a", {"Acc": 60.0, "ED": 0.3}, lower=("ED",), baselines={}),
        finished(tmp_path / "b", {"Acc": 60.0, "ED": 0.2}, lower=("ED",), baselines={}),
        finished(tmp_path / "c", {"Acc": None, "ED": 0.9}, lower=("ED",), baselines={}),
    )
    assert best(table) == {"Acc": ["a", "b"], "ED": ["b"]}
    assert [line.is_main for line in table.lines] == [True, False]
    assert [line.lower_is_better for line in table.lines] == [False, True]


def test_a_baseline_may_be_the_best(tmp_path):
    (table,) = tables(finished(tmp_path / "a", {"Acc": 10.0}, baselines={"chance": {"Acc": 33.0}}))
    assert best(table) == {"Acc": ["chance"]}


def test_the_only_number_of_a_line_is_not_marked(tmp_path):
    (table,) = tables(finished(tmp_path / "a", {"Acc": 10.0}, baselines={}))
    assert best(table) == {"Acc": []}


def test_equal_baselines_stand_once_and_others_name_their_run(tmp_path):
    chance, other = ({"chance": {"Acc": value}} for value in (33.0, 20.0))
    first = finished(tmp_path / "a", {"Acc": 1.0}, baselines=chance)
    second = finished(tmp_path / "b", {"Acc": 2.0}, baselines=chance)
    third = finished(tmp_path / "c", {"Acc": 3.0}, baselines=other)
    assert tables(first, second)[0].columns == ["a", "b", "chance"]
    assert tables(first, third)[0].columns == ["a", "c", "chance of a", "chance of c"]


def test_each_task_has_a_table_of_the_runs_that_learned_it(tmp_path):
    both = result_of(
        metrics={"one/Acc": 1.0, "two/Acc": 2.0},
        baselines={},
        main_metrics={"one": "Acc", "two": "Acc"},
        lower_is_better={"one": (), "two": ()},
    )
    config = config_of(("one", "two"), annotations=("a", "b"))
    joint = write_run(tmp_path / "both", checkpoint=checkpoint_of(config), result=both)
    alone = finished(tmp_path / "alone", {"Acc": 5.0}, task="two", annotations="b", baselines={})
    one, two = tables(joint, alone)
    assert (one.task, one.columns) == ("one", ["both"])
    assert (two.task, two.columns) == ("two", ["both", "alone"])
    assert [cell.value for cell in two.lines[0].cells] == [2.0, 5.0]
    assert two.notes == []


def test_what_limits_a_comparison_is_said(tmp_path):
    (table,) = tables(
        finished(
            tmp_path / "a",
            {"Acc": 1.0},
            annotations="old",
            missing_videos=("v1", "v2"),
            record_ends=("toy: 1 of 3 annotated records end behind the rows",),
        ),
        finished(tmp_path / "b", {"Acc": 1.0}, annotations="new"),
        write_run(tmp_path / "c", checkpoint=checkpoint_of(), entries=log_of([{"Acc": 7.0}])),
    )
    text = " ".join(table.notes)
    assert "a: without 2 annotated videos: v1, v2." in text
    assert "1 of 3 annotated records" in text
    assert "c: no result in its folder" in text
    assert "different annotations: annotations/toy, new, old" in text


def test_a_run_without_scores_has_no_table(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(), entries=log_of([{}]))
    assert tables(folder) == []
