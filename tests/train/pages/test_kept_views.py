import logging

import pytest

from cache_schema.errors import CheckpointError
from tests.train.toy import ToyTask
from train.pages.kept_views import kept
from train.pages.view import VideoView
from train.pages.view_file import read_views, views_path


class Named:
    """Of outputs, all that is looked at here."""

    def __init__(self, video):
        self.video_id = video
        self.sample = self


@pytest.fixture
def outputs(monkeypatch):
    def sample_view(task, output):
        if output.video_id == "bad":
            raise ZeroDivisionError("no such class")
        return VideoView(video=output.video_id, task="toy", duration=1.0)

    monkeypatch.setattr("train.pages.kept_views.sample_view", sample_view)
    return [Named("a"), Named("b")]


def test_outputs_pass_and_their_views_stay(tmp_path, outputs):
    passed = list(kept(ToyTask(), outputs, views_path(tmp_path, "toy")))
    assert passed == outputs
    assert read_views(tmp_path, "toy").videos == ["a", "b"]


def test_a_view_that_fails_is_a_warning_and_all_outputs_pass(tmp_path, outputs, caplog):
    mixed = [outputs[0], Named("bad"), outputs[1]]
    path = views_path(tmp_path, "toy")
    with caplog.at_level(logging.WARNING, logger="train"):
        assert list(kept(ToyTask(), mixed, path)) == mixed
    assert ["bad: ZeroDivisionError: no such class" in one for one in caplog.messages] == [True]
    assert list(path.parent.iterdir()) == []
    assert read_views(tmp_path, "toy") is None


def test_an_error_of_the_model_is_not_hidden(tmp_path, outputs):
    def failing():
        yield outputs[0]
        raise CheckpointError("the model failed")

    with pytest.raises(CheckpointError, match="the model failed"):
        list(kept(ToyTask(), failing(), views_path(tmp_path, "toy")))
    assert read_views(tmp_path, "toy") is None


def test_views_of_an_earlier_turn_go(tmp_path, outputs):
    path = views_path(tmp_path, "toy")
    list(kept(ToyTask(), outputs, path))
    list(kept(ToyTask(), outputs[:1], path))
    assert read_views(tmp_path, "toy").videos == ["a"]
