import io
import sys

import pytest

from train.predict.live import _lines, name_of


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://me:secret@camera:554/1", "rtsp://camera:554/1"),
        ("http://camera/a@b.ts", "http://camera/a@b.ts"),
        ("-", "-"),
        ([], "frames"),
    ],
)
def test_a_source_is_named_without_its_password(source, name):
    assert name_of(source) == name


def test_lines_are_utf_8_whatever_the_terminal_speaks_and_can_be_read_at_once(
    tmp_path, monkeypatch
):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    path = tmp_path / "new" / "rows.jsonl"
    for out, written in (("-", printed.getvalue), (str(path), path.read_bytes)):
        with _lines(out) as put:
            put("straße\n")
            assert written() == "straße\n".encode()
