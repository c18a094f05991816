import csv
import io

from tests.train.formats.hand_made import (
    ALL,
    ANTICIPATION,
    AWKWARD,
    CAPTIONS,
    DETECTION,
    FUTURES,
    HIGHLIGHTS,
    MOMENTS,
    QUESTIONS,
    of_video,
)
from train.answer import Answer
from train.formats import open_format
from train.formats.table import COLUMNS


def text_of(*answers, path):
    with open_format("csv", path) as writer:
        for answer in answers:
            writer.write(answer)
    return path.read_bytes().decode("utf-8")


def table_of(*answers, path, kind):
    """Lines of one kind without what is empty, the video and the task."""
    lines = csv.DictReader(io.StringIO(text_of(*answers, path=path), newline=""), strict=True)
    return [
        {
            key: value
            for key, value in line.items()
            if value and key not in ("video", "task", "kind")
        }
        for line in lines
        if line["kind"] == kind
    ]


def test_bytes_are_those_of_rfc_4180(tmp_path):
    text = text_of(of_video('a "b", c'), path=tmp_path / "a.csv")
    assert text == (
        "video,task,kind,start,end,query,text,score,rank,step,seconds_ahead\r\n"
        '"a ""b"", c",action_segmentation,video,0.0,2.0,,,,,,\r\n'
        '"a ""b"", c",action_segmentation,segment,0.0,2.0,,stir,0.5,,,\r\n'
    )


def test_every_line_has_every_column_and_every_video_is_there(tmp_path):
    nothing = Answer(video="silent", task="moment_query", duration=7.0)
    text = text_of(*ALL, nothing, path=tmp_path / "a.csv")
    header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(header) == COLUMNS
    assert {len(line) for line in lines} == {len(COLUMNS)}
    assert [(line[0], line[4]) for line in lines if line[2] == "video"] == [
        (answer.video, str(answer.duration)) for answer in (*ALL, nothing)
    ]


def test_segments_and_moments(tmp_path):
    assert table_of(MOMENTS, path=tmp_path / "a.csv", kind="segment")[:2] == [
        {"start": "10.0", "end": "20.0", "text": "cook", "score": "0.9"},
        {"start": "12.0", "end": "22.0", "text": "cook", "score": "0.5"},
    ]


def test_classes_of_rows_are_ranked(tmp_path):
    now = table_of(DETECTION, path=tmp_path / "a.csv", kind="now")
    assert len(now) == 6
    assert now[4:] == [
        {"start": "1.0", "end": "1.5", "text": "pour", "score": "0.6", "rank": "1"},
        {"start": "1.0", "end": "1.5", "text": "stir", "score": "0.4", "rank": "2"},
    ]
    following = table_of(DETECTION, path=tmp_path / "a.csv", kind="next")
    assert following[0]["score"] == "0.9"


def test_forecasts_say_how_far_ahead(tmp_path):
    ahead = table_of(ANTICIPATION, path=tmp_path / "a.csv", kind="ahead")
    assert len(ahead) == 16
    assert ahead[2] == {
        "start": "0.0",
        "end": "1.0",
        "text": "pour",
        "score": "0.5",
        "rank": "1",
        "seconds_ahead": "2.0",
    }


def test_futures_are_told_action_by_action(tmp_path):
    futures = table_of(FUTURES, path=tmp_path / "a.csv", kind="future")
    assert [(line["rank"], line["step"]) for line in futures] == [
        *(("1", str(step)) for step in range(1, 8)),
        *(("2", "1"), ("2", "2"), ("3", "1"), ("3", "2")),
    ]
    assert futures[6] == {"start": "12.0", "text": "g", "rank": "1", "step": "7"}


def test_queries_have_ranked_spans_and_a_saliency_in_time(tmp_path):
    spans = table_of(QUESTIONS, path=tmp_path / "a.csv", kind="span")
    assert [(line["query"], line["rank"], line["score"]) for line in spans[:2]] == [
        ("where is the pan?", "1", "0.2"),
        ("where is the pan?", "2", "0.1"),
    ]
    saliency = table_of(HIGHLIGHTS, path=tmp_path / "a.csv", kind="saliency")
    assert [(line["start"], line["score"]) for line in saliency] == [
        ("0.0", "0.1"),
        ("1.0", "0.5"),
        ("3.0", "0.9"),
    ]


def test_captions_keep_their_text(tmp_path):
    texts = [line["text"] for line in table_of(CAPTIONS, path=tmp_path / "a.csv", kind="caption")]
    assert texts == ["#C C stirs the soup", AWKWARD, " \n"]


def test_no_text_is_a_formula_and_none_is_lost(tmp_path):
    risky = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "'tis", "''", "stir", "", " =1"]
    answers = [of_video(text) for text in risky]
    text = text_of(*answers, path=tmp_path / "a.csv")
    lines = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    videos = [line["video"] for line in lines if line["kind"] == "video"]
    assert not [video for video in videos if video[:1] in {"=", "+", "-", "@", "\t", "\r"}]
    assert [video.removeprefix("'") for video in videos] == risky
    assert videos[-4:] == ["'''", "stir", "", " =1"]
