import base64
import io
from urllib.parse import unquote

import pytest
from PIL import Image

from tests.extract.videos import constant_pts, write_video
from tests.pages.making import video
from train.pages import media
from train.pages.media import MediaShelf


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return video(tmp_path_factory.mktemp("videos") / "it's 50% #1.mp4")


def brightness(picture):
    return (
        Image.open(io.BytesIO(base64.b64decode(picture)))
        .convert("L")
        .resize((1, 1))
        .getpixel((0, 0))
    )


def test_a_small_file_that_browsers_play_lies_in_the_page(tmp_path, clip):
    found = MediaShelf(tmp_path / "p.html").media(clip, 8.0)
    assert base64.b64decode(found.embedded) == clip.read_bytes()
    assert (found.href, list(found.pictures), found.note) == ("", [], "")


def test_a_larger_one_is_linked_and_pictures_of_it_lie_in_the_page(tmp_path, clip, monkeypatch):
    monkeypatch.setattr(media, "EMBEDDED_BYTES", clip.stat().st_size - 1)
    found = MediaShelf(tmp_path / "pages" / "p.html").media(clip, 8.0)
    assert found.embedded == ""
    assert (tmp_path / "pages" / unquote(found.href)).resolve() == clip
    assert "#" not in found.href
    assert len(found.pictures) == len(found.picture_times) == media.PICTURES
    # The video gets brighter from frame to frame.
    shown = [brightness(one) for one in found.pictures]
    assert shown == sorted(shown)
    assert shown[-1] > shown[0] + 100


def test_what_browsers_do_not_play_is_shown_in_pictures(tmp_path):
    path = tmp_path / "v.avi"
    write_video(path, constant_pts(20, fps=10))
    found = MediaShelf(tmp_path / "p.html").media(path, 2.0)
    assert (found.href, found.embedded) == ("", "")
    assert len(found.pictures) == media.PICTURES
    assert "Browsers do not play v.avi" in found.note


def test_what_is_full_carries_nothing_more(tmp_path, clip, monkeypatch):
    monkeypatch.setattr(media, "CARRIED_BYTES", clip.stat().st_size + 1)
    shelf = MediaShelf(tmp_path / "p.html")
    assert shelf.media(clip, 8.0).embedded
    second = shelf.media(clip, 8.0)
    assert second.href
    assert second.pictures  # the last that finds room
    third = shelf.media(clip, 8.0)
    assert third.href
    assert third.pictures == []


def test_what_is_no_video_is_said(tmp_path):
    (tmp_path / "v.mp4").write_text("no video")
    found = MediaShelf(tmp_path / "p.html").media(tmp_path / "v.mp4", 2.0)
    assert "cannot be read" in found.note
    assert "not found" in MediaShelf(tmp_path / "p.html").media(None, 2.0).note
