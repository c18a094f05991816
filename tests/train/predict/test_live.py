import pytest

from train.predict.live import name_of


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
