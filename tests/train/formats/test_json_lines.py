import json
import math

import pytest

from cache_schema.errors import CheckpointError
from cache_schema.parsing import parse
from tests.train.formats.hand_made import ALL, AWKWARD, DETECTION, of_video, segment
from train.answer import Answer, StreamedRow
from train.formats import open_format
from train.formats.json_lines import json_line


def lines_of(answers, path):
    with open_format("jsonl", path) as writer:
        for answer in answers:
            writer.write(answer)
    return path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")


def test_every_line_is_read_back_as_the_answer(tmp_path):
    answers = [*ALL, of_video(AWKWARD), of_video("../../etc")]
    lines = lines_of(answers, tmp_path / "a.jsonl")
    assert [parse(Answer, line, where="line") for line in lines] == answers


def test_a_line_holds_the_kinds_that_were_said(tmp_path):
    (line,) = lines_of([of_video("a/b")], tmp_path / "a.jsonl")
    assert json.loads(line) == {
        "schema_version": 1,
        "video": "a/b",
        "task": "action_segmentation",
        "duration": 2.0,
        "segments": [{"start": 0.0, "end": 2.0, "label": "stir", "score": 0.5}],
    }


def test_text_stands_as_it_is(tmp_path):
    (line,) = lines_of([of_video("切る 🍅")], tmp_path / "a.jsonl")
    assert '"切る 🍅"' in line


def test_what_is_no_number_is_refused(tmp_path):
    wrong = Answer(
        video="P01", task="x", duration=1.0, segments=(segment(0.0, 1.0, "stir", math.nan),)
    )
    path = tmp_path / "a.jsonl"
    with pytest.raises(CheckpointError, match=r"video 'P01': .* not finite"):
        lines_of([DETECTION, wrong], path)
    assert not path.exists()


def test_a_row_of_a_stream_that_is_no_number_is_refused_too():
    row = StreamedRow(video="P01", task="x", start=0.0, end=math.nan, latency_ms=1.0)
    with pytest.raises(CheckpointError, match=r"video 'P01': .* not finite"):
        json_line(row)
