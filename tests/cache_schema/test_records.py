import json
import os
from itertools import chain

import google_crc32c
import pytest

from cache_schema.errors import StoreCorruptError
from cache_schema.records import (
    Commit,
    append_line,
    checked_texts,
    encode_line,
    json_object,
    parse_commit,
)
from cache_schema.testing import make_video


def commit(video_id, first_row=0):
    return Commit(
        video=make_video(video_id),
        first_row=first_row,
        num_rows=1,
        features_crc32c=0xDEADBEEF,
        time_crc32c=7,
    )


def decoded(data):
    return [
        parse_commit(text, where=f"x: line {number}")
        for number, text in enumerate(chain(*checked_texts([data], where="x")), start=1)
    ]


def test_a_line_is_checksum_space_canonical_json_newline():
    line = encode_line(commit("b/ä\n"))
    checksum, text = line[:8], line[9:-1]
    assert line[8:9] + line[-1:] == b" \n"
    assert checksum == b"%08x" % google_crc32c.value(text)
    fields = json.loads(text)
    assert text.decode() == json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert fields["video"]["id"] == "b/ä\n"
    assert fields["video"]["fps"] == "30"
    assert line.count(b"\n") == 1


def test_lines_come_back_as_the_commits_they_were():
    commits = [commit("a"), commit("b\0\n", 1), commit("ü" * 300, 2)]
    data = b"".join(map(encode_line, commits))
    assert decoded(data) == commits


def test_a_last_line_torn_anywhere_is_no_commit():
    whole, last = encode_line(commit("a")), encode_line(commit("b", 1))
    for length in range(len(last)):
        assert decoded(whole + last[:length]) == [commit("a")]


def test_a_damaged_last_line_with_its_newline_is_no_commit():
    line = encode_line(commit("b")).replace(b'"b"', b'"c"')
    assert decoded(encode_line(commit("a")) + line) == [commit("a")]


def test_damage_before_the_last_line_is_an_error():
    line = encode_line(commit("a")).replace(b'"a"', b'"c"')
    with pytest.raises(StoreCorruptError, match=r"x: line 1 does not match its checksum"):
        decoded(line + encode_line(commit("b")))


def test_a_line_of_an_unknown_form_is_an_error():
    text = b'{"first_row": 0}'
    line = b"%08x %s\n" % (google_crc32c.value(text), text)
    with pytest.raises(StoreCorruptError, match=r"x: line 1: key 'video' is missing"):
        decoded(line)


def test_a_journal_grows_line_by_line(tmp_path):
    path = tmp_path / "commits.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    append_line(descriptor, encode_line(commit("a")))
    append_line(descriptor, encode_line(commit("b", 1)))
    os.close(descriptor)
    assert decoded(path.read_bytes()) == [commit("a"), commit("b", 1)]


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON"), ("[]", "holds list, expected an object")]
)
def test_a_json_file_must_be_an_object(tmp_path, text, message):
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(StoreCorruptError, match=message):
        json_object(tmp_path / "zarr.json")
