import json
import pickle

import google_crc32c
import pytest

from cache_schema import journal as journal_module
from cache_schema.errors import StoreCorruptError, StoreError
from cache_schema.journal import Journal, decode_journal, open_journal
from cache_schema.records import Commit, encode_line, parse_commit
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_video


def commit(video_id, first_row=0, num_rows=2):
    return Commit(
        video=make_video(video_id),
        first_row=first_row,
        num_rows=num_rows,
        features_crc32c=0xDEADBEEF,
        time_crc32c=0xFFFFFFFF,
    )


COMMITS = [commit("a"), commit("b\0\n", 2), commit("ü" * 30, 4, 9)]
LISTED = [
    (one.video.id, one.num_rows, one.video.duration_seconds, one.video.path, one.video.digest)
    for one in COMMITS
]
DATA = b"".join(map(encode_line, COMMITS))


def cut(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def in_blocks(data, size):
    return Journal(cut(data, size), lambda start, count: data[start : start + count], where="x")


def line_with(**changes):
    """Return a line whose checksum is right, of a record with other fields."""
    fields = json.loads(encode_line(COMMITS[0])[9:])
    video = {key: changes.pop(key) for key in list(changes) if key in fields["video"]}
    fields = {**fields, **changes, "video": {**fields["video"], **video}}
    text = json.dumps(fields).encode()
    return b"%08x %s\n" % (google_crc32c.value(text), text)


def outcome(data, size):
    """Return the ids a journal holds, or the error's text."""
    try:
        return in_blocks(data, size).ids
    except StoreCorruptError as error:
        return str(error)


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_a_journal_says_what_its_lines_do_wherever_its_bytes_are_cut(size):
    found = in_blocks(DATA, size)
    assert list(found) == COMMITS
    assert [found.commit(at) for at in range(len(found))] == COMMITS
    assert found.ids == ["a", "b\0\n", "ü" * 30]
    assert list(found.first_rows) == [0, 2, 4]
    assert list(found.num_rows) == [2, 2, 9]
    assert list(found.size_bytes) == [one.video.size_bytes for one in COMMITS]
    assert set(found.time_crc32c) == {0xFFFFFFFF}
    assert list(found.listing()) == LISTED
    assert (found.num_bytes, found.end_row) == (len(DATA), 13)


def test_records_are_read_again_in_blocks(monkeypatch):
    monkeypatch.setattr(journal_module, "BLOCK_BYTES", 64)
    monkeypatch.setattr(journal_module, "BLOCK_LINES", 2)
    found = in_blocks(DATA, 64)
    assert list(found) == COMMITS
    assert list(found.listing()) == LISTED


def test_an_empty_journal_has_no_commit():
    found, behind = decode_journal(b"", where="x")
    assert (len(found), found.num_bytes, found.end_row, behind) == (0, 0, 0, b"")


def naive(data):
    """Say what docs/format.md 2.3 says of a journal: its commits, or which line is damaged."""
    *lines, tail = data.split(b"\n")
    good = [line == b"%08x %s" % (google_crc32c.value(line[9:]), line[9:]) for line in lines]
    if False in good and (good.index(False) < len(good) - 1 or tail):
        return f"line {good.index(False) + 1} does not match"
    return [json.loads(line[9:])["video"]["id"] for line, is_good in zip(lines, good) if is_good]  # noqa: B905


@pytest.mark.parametrize("size", [50, 10**6])
def test_any_cut_and_any_changed_byte_is_what_the_format_says(size):
    ends = [DATA[:length] for length in range(len(DATA))]
    changed = [DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :] for at in range(len(DATA))]
    seen = set()
    for data in [*ends, *changed]:
        expected = naive(data)
        found = outcome(data, size)
        assert (expected in found) if isinstance(expected, str) else (found == expected)
        seen.add(expected if isinstance(expected, str) else len(expected))
    assert seen == {0, 1, 2, "line 1 does not match", "line 2 does not match"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_row": "0"}, "line 2: key 'first_row' is '0'"),
        ({"num_rows": 1.5}, "line 2: key 'num_rows' is 1.5"),
        ({"fps": "30/0"}, r"line 2 \[video\]: key 'fps' is '30/0'"),
        ({"fps": "fast"}, r"line 2 \[video\]: key 'fps' is 'fast'"),
        ({"colour": "red"}, "line 2: unknown key 'colour'"),
        ({"num_rows": 2**63}, "a number in line 1 or behind it is too large"),
    ],
)
def test_a_line_of_another_form_is_refused_when_the_journal_is_opened(changes, message):
    with pytest.raises(StoreCorruptError, match=message):
        decode_journal(encode_line(COMMITS[0]) + line_with(**changes), where="x")


@pytest.mark.parametrize("fps", [30, "7.5", " 30 "])
def test_numbers_that_records_take_are_taken(fps):
    line = line_with(fps=fps)
    found, _ = decode_journal(line, where="x")
    assert found.commit(0) == parse_commit(line[9:-1], where="x")


def test_a_journal_that_went_or_was_damaged_since_is_named(tmp_path):
    path = tmp_path / "commits.log"
    path.write_bytes(DATA)
    found = pickle.loads(pickle.dumps(open_journal(path)))
    assert found.commit(1) == COMMITS[1]
    path.write_bytes(DATA.replace(b'"a"', b'"c"'))
    assert found.commit(1) == COMMITS[1]
    for read in (lambda: found.commit(0), lambda: list(found), lambda: list(found.listing())):
        with pytest.raises(StoreCorruptError, match="line 1 does not match its checksum"):
            read()
    path.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(StoreCorruptError, match="line 3 does not match its checksum"):
        list(found)
    path.unlink()
    for read in (lambda: found.commit(0), lambda: list(found), lambda: list(found.listing())):
        with pytest.raises(StoreError, match="compacted since it was opened"):
            read()


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_a_stream_tells_of_one_video_what_its_record_does(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("cache_schema.hdf5_backend.reader.BLOCK_BYTES", 300)
    path = tmp_path / f"f.{suffix}"
    for videos in ({"a": 3, "b/x": 70}, {"c": 1, "a": 5}):  # a second time 'a' does not count
        with create_store(path) as writer:
            stream = writer.stream("tiny", make_recipe(), (4,))
            for name, num_rows in videos.items():
                add_video(stream, name, make_rows(num_rows))
    found = pickle.loads(pickle.dumps(open_store(path).stream()))
    assert [found.rows_of(name) for name in found.video_ids] == [3, 70, 1]
    assert found.num_rows == 74
    records = list(found.videos())
    assert [record.id for record in records] == ["a", "b/x", "c"]
    assert [found.size_bytes(one.id) for one in records] == [one.size_bytes for one in records]
    listed = {video.id: (video.digest, video.duration_seconds) for video in found.listing()}
    assert listed == {one.id: (one.digest, one.duration_seconds) for one in records}
    assert [found.commit(name).num_rows for name in found.video_ids] == [3, 70, 1]
    assert [pair for part in found.parts for pair in found.counted(part)] == [
        ("a", True), ("b/x", True), ("c", True), ("a", False),
    ]  # fmt: skip


def test_a_name_stands_for_the_only_video_that_ends_in_it(tmp_path):
    with create_store(tmp_path / "f.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for name in ("p/a", "q/a", "q/b", "r/a"):
            add_video(stream, name, make_rows(1))
    found = open_store(tmp_path / "f.zarr").stream()
    assert [found.resolve(name) for name in ("a", "b", "q/a", "c")] == [None, "q/b", "q/a", None]


def test_a_name_stands_for_the_only_video_whose_folders_it_joins(tmp_path):
    with create_store(tmp_path / "f.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for name in ("P03/cam01/P03_tea", "P03/cam02/P03_tea", "a/b_c", "a_b/c"):
            add_video(stream, name, make_rows(1))
    found = open_store(tmp_path / "f.zarr").stream()
    assert found.resolve("P03_cam02_P03_tea") == "P03/cam02/P03_tea"
    assert found.resolve("P03_cam03_P03_tea") is None
    assert found.resolve("a_b_c") is None  # two of them


def test_a_name_may_have_the_suffix_of_its_file(tmp_path):
    with create_store(tmp_path / "f.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for name in ("p/a", "p/b.mp4", "p/b.mkv", "q/b.mp4", "q/b", "take"):
            add_video(stream, name, make_rows(1))
    found = open_store(tmp_path / "f.zarr").stream()
    assert found.resolve("p/a.mp4") == found.resolve("a.MKV") == found.resolve("p_a.mp4") == "p/a"
    assert found.resolve("p/b.mkv") == "p/b.mkv"
    assert found.resolve("q/b.avi") == "q/b"
    assert found.resolve("b.mp4") is None  # two of them, though one alone is called b
    assert found.resolve("take.v2") is None
    assert found.resolve("p/a.mov.mp4") is None  # the video p/a.mov, which is not here
    assert found.named("p/a.mp4") is None
