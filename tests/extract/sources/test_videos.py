import errno
import os

import pytest

from cache_schema.errors import SourceError, VideoError
from extract.sources import videos as sources
from extract.sources.videos import content_digest, find_videos


@pytest.fixture
def tree(tmp_path):
    for name in ("a.mp4", "sub/b.mkv", "sub/B.MP4", "notes.md", "c.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "videos"


def ids(*inputs):
    return [video.id for video in find_videos([str(item) for item in inputs])]


def test_a_folder_is_searched_for_videos_and_ids_are_relative_paths(tree):
    assert ids(tree) == ["a", "c", "sub/B", "sub/b"]


def test_a_file_a_pattern_and_a_list_name_videos_too(tree, tmp_path):
    (tmp_path / "list.txt").write_text("# two\nvideos/a.mp4\n\nvideos/sub/b.mkv\n")
    assert ids(tree / "a.mp4") == ["a"]
    assert ids(tree / "sub" / "*.mkv") == ["b"]
    assert ids(tree / "**" / "*.mp4") == ["a", "c"]
    assert ids(tmp_path / "list.txt") == ["videos/a", "videos/sub/b"]


def test_one_file_named_twice_is_one_video(tree):
    assert ids(tree / "a.mp4", tree) == ["a", "c", "sub/B", "sub/b"]


def test_two_suffixes_of_one_stem_keep_their_suffix(tree):
    (tree / "a.mkv").write_bytes(b"x")
    assert ids(tree) == ["a.mkv", "a.mp4", "c", "sub/B", "sub/b"]


def test_equal_names_below_two_roots_are_refused(tree, tmp_path):
    other = tmp_path / "other" / "a.mp4"
    other.parent.mkdir()
    other.write_bytes(b"y")
    with pytest.raises(SourceError, match=r"two videos would have the id 'a\.mp4'.*common parent"):
        find_videos([str(tree), str(other)])


def test_a_link_that_leads_back_up_does_not_loop(tree):
    (tree / "sub" / "loop").symlink_to(tree, target_is_directory=True)
    assert ids(tree) == ["a", "c", "sub/B", "sub/b"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "no such file or folder"), ("empty", "no video there"), ("*.avi", "no video")],
)
def test_nothing_to_extract_is_said(tree, name, message):
    (tree / "empty").mkdir()
    with pytest.raises(SourceError, match=message):
        find_videos([str(tree / name)])


def test_a_list_that_names_no_file_is_refused_with_its_line(tree):
    (tree / "list.txt").write_text("a.mp4\ngone.mp4\n")
    with pytest.raises(SourceError, match=r"line 2 names 'gone.mp4'"):
        find_videos([str(tree / "list.txt")])


def test_the_digest_sees_content_and_size_not_the_name(tmp_path):
    big = bytes(range(256)) * 40_000  # 10 MB: sampled, not read whole
    for name, data in (("a", big), ("b", big), ("c", big + b"x"), ("d", b"\1" + big[1:])):
        (tmp_path / name).write_bytes(data)
    a, b, c, d = (content_digest(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


@pytest.mark.parametrize("name", ["..mp4", "...mp4"])
def test_an_id_never_leads_up(tree, name):
    (tree / "sub" / name).write_bytes(b"x")
    assert ids(tree / "sub") == [name, "B", "b"]


def test_a_pattern_that_leads_up_gives_the_file_its_plain_name(tree):
    assert ids(tree / "*" / ".." / "a.mp4") == ["a"]


def test_a_list_may_name_files_outside_its_folder(tree):
    (tree / "sub" / "list.txt").write_text("../a.mp4\nb.mkv\n")
    assert ids(tree / "sub" / "list.txt") == ["a", "b"]


@pytest.mark.parametrize("entry", ["sub/b.mkv", "{}/sub/b.mkv"], ids=["relative", "absolute"])
@pytest.mark.parametrize(
    "typed", ["list.txt", "sub/../list.txt", "../videos/list.txt", "{}/list.txt"]
)
def test_an_id_does_not_depend_on_how_the_list_was_typed(tree, monkeypatch, entry, typed):
    (tree / "list.txt").write_text(entry.format(tree))
    monkeypatch.chdir(tree)
    assert ids(typed.format(tree)) == ["sub/b"]


def test_equal_stems_in_two_folders_are_two_videos(tree):
    (tree / "other").mkdir()
    (tree / "other" / "b.mkv").write_bytes(b"z")
    assert ids(tree) == ["a", "c", "other/b", "sub/B", "sub/b"]


def test_links_that_lead_nowhere_are_listed_so_that_they_fail_by_name(tree):
    (tree / "circle.mp4").symlink_to(tree / "circle.mp4")
    (tree / "gone.mp4").symlink_to(tree / "nothing.mp4")
    videos = {video.id: video for video in find_videos([str(tree)])}
    assert (videos["circle"].size_bytes, videos["gone"].size_bytes) == (0, 0)
    assert "gone" in ids(tree / "*.mp4")
    with pytest.raises(VideoError, match="cannot be read: Too many levels of symbolic links"):
        content_digest(videos["circle"].path)
    with pytest.raises(VideoError, match="cannot be read: No such file"):
        content_digest(videos["gone"].path)


def test_a_pipe_is_not_opened(tree):
    os.mkfifo(tree / "pipe.mp4")
    assert "pipe" in ids(tree)
    with pytest.raises(VideoError, match="is no regular file"):
        content_digest(tree / "pipe.mp4")


def test_a_folder_that_cannot_be_read_is_no_silence(tree, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"sub: this folder cannot be read: Permission denied"):
        find_videos([str(tree)])


def test_names_that_are_no_text_come_through_folders_and_lists(tree):
    name = os.fsdecode(b"latin-\xe9.mp4")
    (tree / name).write_bytes(b"x")
    (tree / "list.txt").write_bytes(b"\xef\xbb\xbflatin-\xe9.mp4\r\n")
    assert ids(tree / "list.txt") == [name.removesuffix(".mp4")]
    assert name.removesuffix(".mp4") in ids(tree)


def test_one_input_may_stand_alone(tree):
    expected = find_videos([str(tree)])
    assert expected
    assert find_videos(str(tree)) == find_videos(tree) == find_videos(iter([tree])) == expected


def test_a_size_that_cannot_be_found_out_ends_the_search(tmp_path, monkeypatch):
    """With 0 in its place, this task of a job array would split the videos unlike the others."""
    (tmp_path / "a.mp4").write_bytes(b"1")

    def stale(path):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(sources.Path, "stat", stale)
    with pytest.raises(
        SourceError, match=r"a\.mp4: its size cannot be found out: Stale file handle"
    ):
        sources._below(tmp_path, tmp_path / "a.mp4")
