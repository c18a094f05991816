import json

from tests.train.pages.run_folders import checkpoint_of, config_of, result_of, view, write_run
from train.pages.run_facts import read_runs
from train.pages.shown_videos import ShownVideos, class_sections, subset_views
from train.pages.view import VideoView


def views_of(tmp_path, *runs):
    folders = [
        write_run(tmp_path / name, checkpoint=checkpoint_of(), result=result_of(), views=views)
        for name, views in runs
    ]
    return subset_views(read_runs(folders))


def videos(one):
    return [summary.video for summary in one.best_and_worst]


def test_five_best_and_five_worst_are_shown(tmp_path):
    (one,) = views_of(tmp_path, ("run", [view(f"v{k:02}", k / 20) for k in range(20)]))
    best = ["v19", "v18", "v17", "v16", "v15"]
    assert videos(one) == [*best, "v04", "v03", "v02", "v01", "v00"]


def test_of_few_videos_each_is_shown_once(tmp_path):
    (one,) = views_of(tmp_path, ("run", [view(f"v{k}", k / 7) for k in range(7)]))
    assert videos(one) == ["v6", "v5", "v4", "v3", "v2", "v1", "v0"]


def test_where_nothing_is_judged_the_first_ones_are_shown(tmp_path):
    plain = [VideoView(video=f"v{k:02}", task="toy", duration=1.0) for k in range(12)]
    (one,) = views_of(tmp_path, ("run", plain))
    assert videos(one) == [f"v{k:02}" for k in range(10)]
    assert class_sections([one]) == []


def test_a_run_without_views_has_none(tmp_path):
    assert views_of(tmp_path, ("run", [])) == []


def test_videos_of_several_runs_have_their_runs_name(tmp_path):
    views = views_of(tmp_path, ("a", [view("v", 0.5)]), ("b", [view("v", 1.0)]))
    shown = ShownVideos(views, tmp_path / "page.html")
    names = ["v (a)", "v (b)"]
    assert [one.video for one in shown.summaries] == names
    blocks = list(shown.blocks())
    assert [json.loads(text)["video"] for text, _ in blocks] == names
    assert "not found" in json.loads(blocks[0][1])["note"]
    assert shown.labels == ["cut", "dry"]
    assert shown.measure == "share of the annotated seconds that are named right"


def test_one_run_shows_all_of_each_class(tmp_path):
    (section,) = class_sections(views_of(tmp_path, ("run", [view("v", 0.25)])))
    heads = [name for name, _ in section.columns]
    cut = dict(zip(heads, section.rows[0], strict=True))
    assert cut["class"] == "cut"
    # 10 s are annotated, 2.5 s of them are said, and nothing else is.
    assert (cut["annotated seconds"], cut["precision %"], cut["recall %"]) == (10.0, 100.0, 25.0)
    assert len(section.confusions) == 1


def test_several_runs_show_f1_side_by_side(tmp_path):
    views = views_of(tmp_path, ("a", [view("v", 1.0)]), ("b", [view("v", 0.25)]))
    (section,) = class_sections(views)
    assert [name for name, _ in section.columns] == [
        "class", "annotated seconds", "F1 % of a", "F1 % of b"
    ]  # fmt: skip
    # Of 10 s: all; 2.5 s, so that F1 is 2 * 2.5 / (2.5 + 10).
    assert section.rows[0] == ["cut", 10.0, 100.0, 40.0]
    # The first run never says the other class.
    assert section.rows[1][0] == "dry"
    assert section.rows[1][2] is None
    assert len(section.confusions) == 2


def test_each_task_has_its_classes(tmp_path):
    folders = [
        write_run(
            tmp_path / task,
            checkpoint=checkpoint_of(config_of((task,))),
            views=[view("v", 0.5, task=task)],
        )
        for task in ("one", "two")
    ]
    sections = class_sections(subset_views(read_runs(folders)))
    assert [section.task for section in sections] == ["one", "two"]
