import pytest

from cache_schema.errors import CheckpointError
from train.pages.view import ClassTally, Confusion, Curve, Lane, Mark, VideoView
from train.pages.view_file import ViewFile, ViewWriter, summed


def view(video, start=0.0, **more):
    lane = Lane(name="says", kind="said", marks=(Mark(start=start, end=start + 1, label="cut"),))
    return VideoView(video=video, task="t", duration=start + 1, lanes=(lane,), **more)


def written(tmp_path, *views):
    with ViewWriter(tmp_path / "views.jsonl") as writer:
        for one in views:
            writer.write(one)
        return writer.finish()


def test_stretches_of_a_video_become_one_view(tmp_path):
    curve = Curve(name="cut", percent=(5,))
    other = Curve(name="peel", percent=(7,))
    views = written(
        tmp_path,
        view("a/b", 5.0, times=(5.5,), curves=(curve,), judged=4.0, right=1.0),
        view("c"),
        view("a/b", 1.0, times=(1.5,), curves=(other,), judged=4.0, right=3.0),
    )
    assert views.videos == ["a/b", "c"]
    whole = views.view("a/b")
    assert [mark.start for mark in whole.lanes[0].marks] == [1.0, 5.0]
    assert len(whole.lanes) == 1
    assert (whole.duration, whole.score, whole.times) == (6.0, 0.5, (5.5, 1.5))
    assert whole.curves == (
        Curve(name="cut", percent=(5, None)),
        Curve(name="peel", percent=(None, 7)),
    )


def test_all_views_together_add_up(tmp_path):
    tally = ClassTally(label="cut", annotated=2.0, said=1.0, right=1.0)
    mixed = Confusion(truth="cut", said="peel", amount=1.0)
    one = {"judged": 2.0, "right": 1.0, "unit": "seconds", "tallies": (tally,)}
    total = summed(
        written(tmp_path, view("a", **one, confusions=(mixed, mixed)), view("b", **one), view("c"))
    )
    assert [one.video for one in total.summaries] == ["a", "b", "c"]
    assert [one.score for one in total.summaries] == [0.5, 0.5, None]
    assert (total.score, total.unit, total.labels) == (0.5, "seconds", ["cut"])
    assert total.tallies == [ClassTally(label="cut", annotated=4.0, said=2.0, right=2.0)]
    assert total.confusions == [Confusion(truth="cut", said="peel", amount=2.0)]


def test_a_line_that_is_no_view_is_named(tmp_path):
    (tmp_path / "views.jsonl").write_text('{"video": 3}\n')
    with pytest.raises(CheckpointError, match=r"views\.jsonl"):
        ViewFile(tmp_path / "views.jsonl")
