from dataclasses import replace

from cache_schema.testing import make_video
from cache_schema.video_path import found_video


def record(path, size_bytes=3):
    return replace(make_video("a"), path=str(path), size_bytes=size_bytes)


def test_a_path_is_tried_as_it_is_and_from_the_folders_of_the_store(tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    file = tmp_path / "videos" / "a.mp4"
    file.write_bytes(b"abc")
    store = tmp_path / "stores" / "s.zarr"
    monkeypatch.chdir(tmp_path)
    assert found_video(record("videos/a.mp4"), None).samefile(file)
    monkeypatch.chdir("/")
    assert found_video(record("videos/a.mp4"), store).samefile(file)
    assert found_video(record(file), None) == file
    assert found_video(record("videos/a.mp4"), None) is None
    assert found_video(record("videos/b.mp4"), store) is None
    assert found_video(record(""), store) is None


def test_a_file_of_another_size_is_another_file(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"abc")
    assert found_video(record(tmp_path / "a.mp4", size_bytes=7), None) is None
    assert found_video(record(tmp_path / "a.mp4", size_bytes=0), None) is not None  # imported
