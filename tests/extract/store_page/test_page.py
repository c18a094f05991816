import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from cache_schema.convert.transfer import copy_store
from cache_schema.cost import ExtractionCost, append_cost
from cache_schema.errors import ConfigError, StoreError
from cache_schema.store import create_store, open_store
from cache_schema.testing import make_recipe, make_times, make_video
from extract.report.ledger import Ledger, failure_of
from extract.sources.videos import VideoFile
from extract.store_page import page as page_module
from extract.tools.cli import store_command
from tests.extract.store_page.planted import (
    NUM_DIMS,
    add_file_video,
    noise,
    open_stream,
    write_grey_video,
)

EVIL = "<script>window.evil = 1</script>"
DEAD = 5


@pytest.fixture
def store(tmp_path):
    """A store with one of everything that the page is to find."""
    path = tmp_path / "feats.zarr"
    videos = {f"kitchen/v{k}": noise(20, k) for k in range(6)}
    videos["copy"] = videos["kitchen/v2"][4:]
    videos["twin"] = videos["kitchen/v3"]
    videos[f"names/{EVIL}"] = noise(20, 99)
    for rows in videos.values():
        rows[:, DEAD] = 0.5
    with create_store(path) as writer:
        stream = writer.stream("tiny", make_recipe(), (NUM_DIMS,), encoder_source="./mine.py:Net")
        for video_id, rows in videos.items():
            stream.append(rows.astype(np.float16))
            record = make_video(video_id, num_rows=len(rows))
            if video_id == "twin":
                record = replace(record, digest="digest of kitchen/v3")
            stream.commit(record, make_times(len(rows)))
        black = noise(8, 77)
        black[:, DEAD] = 0.5
        black[:3] = 0.5
        file = write_grey_video(tmp_path / "black.mp4", [0, 0, 0, 90, 100, 110, 120, 130])
        add_file_video(stream, file, "black", black)
        writer.stream("other", make_recipe(encoder_id="other"), (3,))
    for name, stream_name, error in (
        (f"bad {EVIL}", "tiny", "is cut"),
        ("twin", "tiny", "was mended since"),
        ("elsewhere", "other", "is cut"),
    ):
        video = VideoFile(id=name, path=file, size_bytes=1)
        Ledger(path).append([failure_of(video, [stream_name], "decode", error)])
    append_cost(path, COST)
    return path


COST = ExtractionCost(
    time="2025-03-01T12:00:00+00:00",
    streams=("tiny",),
    num_videos=10,
    num_rows=180,
    video_seconds=90.0,
    wall_seconds=30.0,
    busy_seconds={"decode": 20.0, "encode": 29.0},
    num_workers=1,
    device="cpu",
    energy_joules=7200.0,
)


def report(*args):
    result = CliRunner().invoke(store_command, ["report", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_json_says_what_was_planted(store):
    found = json.loads(report(store, "--stream", "tiny", "--json"))
    assert not store.with_name("feats.zarr.report.html").exists()
    assert found["rows_seen"] == 8 * 20 + 16 + 8
    assert found["dimensions"]["constant"] == [DEAD]
    assert found["same_rows"] == found["same_file"] == [["kitchen/v3", "twin"]]
    near = [set(group["videos"]) for group in found["near_duplicates"]]
    assert {"copy", "kitchen/v2"} in near
    assert {"kitchen/v3", "twin"} in near
    assert len(near) == 2
    videos = {video["id"]: video for video in found["videos"]}
    assert (videos["black"]["num_black"], videos["black"]["num_still"]) == (3, 2)
    assert videos["copy"]["num_black"] == 0
    assert [name for name, video in videos.items() if video["has_file"]] == ["black"]
    assert [(one["video_id"], one["error"]) for one in found["failures"]] == [
        (f"bad {EVIL}", "is cut")
    ]
    assert found["costs"][0]["energy_joules"] == 7200.0
    tiny = next(one for one in found["streams"] if one["name"] == "tiny")
    assert tiny["recipe"]["encoder"]["id"] == "tiny"
    assert tiny["fingerprint"] == make_recipe().fingerprint
    assert tiny["encoder_source"] == "./mine.py:Net"


def test_the_page_says_so_too_and_shows_names_as_text(store):
    told = report(store, "--stream", "tiny")
    path = store.with_name("feats.zarr.report.html")
    assert told == f"{path}: 10 videos, 184 rows looked at.\n"
    text = path.read_text()
    assert EVIL not in text
    assert text.count("&lt;script&gt;window.evil") >= 3  # the video, a frame of it, the failure
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
    for sentence in (
        "1 dimension with the same value in every row looked at: 5.",
        "3 rows with a black frame.",
        "Could not be used: 1 video.",
        "4 videos that run alike, in 2 groups.",
        "2 videos of the same file, in 1 group.",
        "2 videos with the same rows, in 1 group.",
        "9 videos whose file was not found.",
        "the video file is not where it was",
        "180; the store holds 184 in all streams",
        "0.002 kWh in 1 of 1 runs",
        "0.025 hours",
        "./mine.py:Net",
        make_recipe().fingerprint,
    ):
        assert sentence in plain
    assert "data:image/jpeg;base64," in text


def test_labels_make_a_map_of_their_own(store, tmp_path):
    (tmp_path / "labels.csv").write_text("video,start,end,text\nkitchen/v0,0,5,stir\n")
    out = tmp_path / "page.html"
    report(store, "--stream", "tiny", "--out", out, "--labels", tmp_path / "labels.csv")
    assert "coloured by label" in out.read_text()
    report(store, "--stream", "tiny", "--out", out)
    assert "coloured by label" not in out.read_text()


def test_an_hdf5_file_says_the_same(store, tmp_path):
    copy = tmp_path / "copy.h5"
    copy_store(open_store(store), copy, lambda rows: None)
    one, other = (json.loads(report(path, "--stream", "tiny", "--json")) for path in (store, copy))
    for part in ("videos", "dimensions", "near_duplicates", "same_rows", "repeats"):
        assert one[part] == other[part]


def test_of_very_many_videos_those_that_deserve_a_look_are_listed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "MOST_LISTED", 3)
    report(store, "--stream", "tiny", "--out", tmp_path / "page.html")
    table = (tmp_path / "page.html").read_text().split('<table id="video-table"')[1]
    body = table.split("<tbody>")[1].split("</tbody>")[0]
    listed = re.findall(r'<tr>\s*<td class="text">(.*?)</td>', body)
    assert listed == ["black", "kitchen/v3", "twin"]  # still and black rows; equal ones
    assert "3 of the 10 videos that were looked at" in table


@pytest.mark.parametrize(
    "rows",
    [np.ones((1, 1)), np.zeros((4, 3)), np.full((3, 2), np.nan), noise(6, 0, 5).reshape(2, 3, 5)],
    ids=["one number", "zeros", "no numbers", "grid"],
)
def test_the_least_store_has_a_page_without_problems(tmp_path, open_page, rows):
    open_stream(tmp_path / "s.zarr", {"a": rows})
    report(tmp_path / "s.zarr")
    opened = open_page(tmp_path / "s.zarr.report.html")
    for figure in opened.page.locator("[data-chart]").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").wait_for()
    assert opened.problems == []


def test_a_stream_must_be_named_and_hold_something(store):
    with pytest.raises(ConfigError, match="it holds: other, tiny"):
        report(store)
    with pytest.raises(StoreError, match="stream 'other' has no video yet"):
        report(store, "--stream", "other")


def test_a_browser_opens_the_page_and_asks_for_nothing(store, tmp_path, open_page):
    out = tmp_path / "page.html"
    report(store, "--stream", "tiny", "--out", out)
    opened = open_page(out)
    page = opened.page
    for figure in page.locator("[data-chart]").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").wait_for()
    assert (opened.problems, opened.requests) == ([], [])
    assert page.evaluate("window.evil") is None
    assert page.locator(".shots img").first.evaluate("picture => picture.naturalWidth") > 0
    head = page.locator("#video-table th button", has_text="black")
    head.click()
    head.click()  # the most first
    first = page.locator("#video-table tbody tr").first
    assert first.locator("td").first.inner_text() == "black"
    page.locator("[data-filters=video-table]").fill("not found")
    assert page.locator("#video-table tbody tr:visible").count() == 9
