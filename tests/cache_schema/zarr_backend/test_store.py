import errno
import json
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from cache_schema import layout
from cache_schema.errors import (
    RecipeMismatchError,
    SchemaVersionError,
    StoreCorruptError,
    StoreError,
)
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store, store_exists
from cache_schema.testing import (
    StoreContract,
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
    make_video,
)
from cache_schema.zarr_backend import store as zarr_store
from cache_schema.zarr_backend.shard import shard_metadata
from tests.cache_schema.killing import check_kills


class TestZarrStore(StoreContract):
    suffix = ".zarr"


def test_committed_videos_survive_kills(tmp_path):
    check_kills(tmp_path / "s.zarr", kills=2)


def only_part(store, stream="tiny"):
    (part,) = (path for path in (store / stream / "parts").iterdir() if path.is_dir())
    return part


@pytest.mark.parametrize("row_shape", [(4,), (3, 5)])
@pytest.mark.parametrize("store_dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("lengths", [(1,), (60, 4), (64, 65, 200)])
def test_a_sealed_part_is_read_bit_equal_by_zarr_python_and_tensorstore(
    tmp_path, row_shape, store_dtype, lengths
):
    videos = {str(number): rows for number, rows in enumerate(lengths)}
    make_store(tmp_path / "s.zarr", videos, row_shape=row_shape, store_dtype=store_dtype)
    expected = np.concatenate(
        [make_rows(n, row_shape, seed=i, dtype=store_dtype) for i, n in enumerate(lengths)]
    )
    part = only_part(tmp_path / "s.zarr")
    array = zarr.open_array(str(part / "features"), mode="r")
    np.testing.assert_array_equal(np.asarray(array[:]).view(expected.dtype), expected)
    kvstore = {"driver": "file", "path": str(part / "features")}
    foreign = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()
    np.testing.assert_array_equal(foreign.read().result().view(expected.dtype), expected)


def test_zarr_python_finds_streams_and_times_in_the_hierarchy(tmp_path):
    make_store(tmp_path / "s.zarr", {"a": 3, "b": 2})
    part = only_part(tmp_path / "s.zarr").name
    group = zarr.open_group(str(tmp_path / "s.zarr"), mode="r")
    assert group.attrs["kind"] == "video-feature-store"
    assert group["tiny"].attrs["fingerprint"] == make_recipe().fingerprint
    times = group[f"tiny/parts/{part}/time"][:]
    np.testing.assert_array_equal(times, np.concatenate([make_times(3), make_times(2)]))


def test_a_full_part_is_sealed_and_the_next_video_starts_another(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "PART_BYTES", 100 * 8)
    make_store(tmp_path / "s.zarr", {"a": 60, "b": 60, "c": 1})
    stream = open_store(tmp_path / "s.zarr").stream()
    found = {tuple(c.video.id for c in part.commits): part.id for part in stream.parts}
    assert set(found) == {("a", "b"), ("c",)}


def attributes(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]


def test_readers_that_know_no_encoder_source_find_what_they_compare(tmp_path):
    path = tmp_path / "s.zarr"
    with create_store(path) as writer:
        add_video(
            writer.stream("tiny", make_recipe(), (4,), encoder_source="/m"), "a", make_rows(3)
        )
    # They refuse other attributes in ``parts`` than these three, and pass over more elsewhere.
    known = {"recipe", "fingerprint", "row_shape"}
    assert set(attributes(path / "tiny" / "parts")) == known
    assert set(attributes(path / "tiny")) == known | {"encoder_source"}
    (copy,) = path.glob("tiny/parts/*/commits.copy")
    assert set(json.loads(copy.read_bytes().splitlines()[0][9:])) == known | {"encoder_source"}


def test_a_source_that_is_no_text_is_passed_over(tmp_path):
    make_store(tmp_path / "s.zarr")
    header = tmp_path / "s.zarr" / "tiny" / "zarr.json"
    document = json.loads(header.read_text())
    document["attributes"]["encoder_source"] = 3
    header.write_text(json.dumps(document))
    assert open_store(tmp_path / "s.zarr").stream().encoder_source == ""


def test_two_writers_fill_one_stream_at_a_time(tmp_path):
    writers = [create_store(tmp_path / "s.zarr") for _ in range(2)]
    streams = [writer.stream("tiny", make_recipe(), (4,)) for writer in writers]
    for number in range(6):
        add_video(streams[number % 2], str(number), make_rows(3, seed=number))
    for writer in writers:
        writer.close()
    stream = open_store(tmp_path / "s.zarr").stream()
    assert (len(stream.parts), stream.video_ids) == (2, ["0", "1", "2", "3", "4", "5"])
    np.testing.assert_array_equal(stream.read("3").values, make_rows(3, seed=3))


@pytest.fixture
def overtaken(tmp_path, monkeypatch):
    """Return a store writer before which another one makes a stream, at the last instant."""
    faster, slower = (create_store(tmp_path / "s.zarr") for _ in range(2))
    in_time = zarr_store.new_file

    def too_late(path):
        monkeypatch.setattr(zarr_store, "new_file", in_time)
        faster.stream("tiny", make_recipe(), (4,))
        return in_time(path)

    monkeypatch.setattr(zarr_store, "new_file", too_late)
    return slower


def test_of_two_streams_made_at_one_instant_under_one_name_one_is_made(tmp_path, overtaken):
    with pytest.raises(RecipeMismatchError, match=r"store_dtype"):
        overtaken.stream("tiny", make_recipe(store_dtype="bfloat16"), (4,))
    assert open_store(tmp_path / "s.zarr").stream().recipe == make_recipe()
    assert [path.name for path in (tmp_path / "s.zarr/tiny").glob("*.json")] == ["zarr.json"]


def test_a_stream_is_made_where_the_file_system_has_no_links(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    create_store(tmp_path / "s.zarr").stream("tiny", make_recipe(), (4,))
    assert sorted(path.name for path in (tmp_path / "s.zarr/tiny").iterdir()) == [
        "parts",
        "zarr.json",
    ]


def test_a_writer_that_fails_in_its_block_seals_what_was_committed(tmp_path):
    with suppress(ZeroDivisionError), create_store(tmp_path / "s.zarr") as writer:
        add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(3))
        raise ZeroDivisionError
    assert (only_part(tmp_path / "s.zarr") / "zarr.json").exists()


def test_a_part_without_a_video_is_removed(tmp_path):
    writer = create_store(tmp_path / "s.zarr")
    writer.stream("tiny", make_recipe(), (4,)).append(make_rows(3))
    writer.close()
    assert [path.name for path in (tmp_path / "s.zarr/tiny/parts").iterdir()] == ["zarr.json"]


def test_a_torn_last_commit_line_is_no_video(tmp_path):
    make_store(tmp_path / "s.zarr", {"a": 3, "b": 2})
    journal = only_part(tmp_path / "s.zarr") / "commits.log"
    for cut in (1, 2, 50):
        journal.write_bytes(journal.read_bytes()[:-cut])
        assert open_store(tmp_path / "s.zarr").stream().video_ids == ["a"]


def test_a_damaged_commit_line_is_an_error_and_can_be_passed_over(tmp_path):
    make_store(tmp_path / "s.zarr", {"a": 3, "b": 2})
    journal = only_part(tmp_path / "s.zarr") / "commits.log"
    journal.write_bytes(journal.read_bytes().replace(b'"a"', b'"x"'))
    with pytest.raises(StoreCorruptError, match=r"commits\.log: line 1 does not match"):
        open_store(tmp_path / "s.zarr")
    damages = []
    assert open_store(tmp_path / "s.zarr", damages.append).stream().video_ids == []
    assert len(damages) == 1


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("number", range(4))
def test_after_a_failed_write_the_writer_goes_on_in_a_new_part(tmp_path, monkeypatch, call, number):
    stream = create_store(tmp_path / "s.zarr").stream("tiny", make_recipe(), (4,))
    add_video(stream, "a", make_rows(3))
    inner, calls = getattr(os, call), iter(range(99))

    def failing(descriptor, *data):
        if next(calls) < number:
            return inner(descriptor, *data)
        if data and next(calls) == number + 1:
            return inner(descriptor, data[0][:20])  # half of it, then the disk is full
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, failing)
    sentence = r"s\.zarr/tiny: cannot be written \(No space .* make room"
    with pytest.raises(StoreError, match=sentence):
        _ = [add_video(stream, f"b{seed}", make_rows(20, seed=seed)) for seed in range(3)]
    monkeypatch.undo()
    before = open_store(tmp_path / "s.zarr").stream().video_ids
    add_video(stream, "c", make_rows(2, seed=7))
    stream.close()
    assert verify_store(tmp_path / "s.zarr").problems == []
    found = open_store(tmp_path / "s.zarr").stream()
    assert found.video_ids == [*before, "c"]
    np.testing.assert_array_equal(found.read("a").values, make_rows(3))
    np.testing.assert_array_equal(found.read("c").values, make_rows(2, seed=7))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "photo.jpg").touch()
    with pytest.raises(StoreError, match="exists and is not a feature store"):
        create_store(tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="no feature store here"):
        open_store(tmp_path / "s.zarr")


@pytest.mark.parametrize("left", [(), ("zarr.0123abcd.partial.json",)])
def test_an_empty_folder_becomes_a_store_and_stays_the_same_folder(tmp_path, left):
    folder = tmp_path / "s.zarr"
    folder.mkdir()
    for name in left:  # by a writer that was killed
        (folder / name).touch()
    inode = folder.stat().st_ino
    assert not store_exists(folder)
    make_store(folder, {"a": 3})
    assert folder.stat().st_ino == inode
    assert store_exists(folder)
    assert open_store(folder).stream().video_ids == ["a"]


def test_a_store_is_made_where_a_link_leads(tmp_path):
    (tmp_path / "s.zarr").symlink_to(tmp_path / "disk" / "true.zarr")
    make_store(tmp_path / "s.zarr", {"a": 3})
    assert (tmp_path / "s.zarr").is_symlink()
    assert open_store(tmp_path / "disk" / "true.zarr").stream().video_ids == ["a"]


def test_another_zarr_group_is_refused(tmp_path):
    zarr.create_group(str(tmp_path / "s.zarr"))
    with pytest.raises(StoreError, match="is a Zarr group but not a video-feature-store"):
        open_store(tmp_path / "s.zarr")


def test_another_schema_version_is_refused(tmp_path):
    make_store(tmp_path / "s.zarr")
    path = tmp_path / "s.zarr" / "zarr.json"
    path.write_text(json.dumps({"attributes": {"kind": layout.KIND, "schema_version": 99}}))
    with pytest.raises(SchemaVersionError, match="has schema version 99, this code reads 1"):
        open_store(tmp_path / "s.zarr")


def test_a_writer_whose_part_was_removed_does_not_commit(tmp_path):
    stream = create_store(tmp_path / "s.zarr").stream("tiny", make_recipe(), (4,))
    stream.append(make_rows(3))
    (only_part(tmp_path / "s.zarr") / "commits.log").unlink()
    with pytest.raises(StoreError, match=r"was removed while .* Extract 'a' again"):
        stream.commit(make_video("a"), make_times(3))


def test_a_reader_of_a_removed_part_is_told_to_open_again(tmp_path):
    stream = make_store(tmp_path / "s.zarr", fps=Fraction(1)).stream()
    only_part(tmp_path / "s.zarr").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"has no time; .* Open it again"):
        stream.read("a")


@pytest.mark.parametrize("rows_left", [0, 1, 40])
def test_rows_a_file_has_lost_are_an_error_and_never_repeated_or_zero(tmp_path, rows_left):
    make_store(tmp_path / "s.zarr", {"a": 50})
    part = only_part(tmp_path / "s.zarr")
    os.truncate(part / "features/c/0/0", rows_left * 8)
    stream = open_store(tmp_path / "s.zarr").stream()
    with pytest.raises(StoreCorruptError, match="ends before its committed rows do"):
        stream.read("a")
    with pytest.raises(StoreCorruptError, match="ends before its committed rows do"):
        stream.read_windows([("a", 0, 50)], np.empty((1, 64, 4), np.float16))
    os.truncate(part / "time/c/0/0", 49 * 16)
    with pytest.raises(StoreCorruptError, match="ends before its committed rows do"):
        stream.times("a")


def test_the_format_says_all_that_verification_compares_of_an_array(tmp_path):
    text = (Path(__file__).parents[3] / "docs/format.md").read_text(encoding="utf-8")
    document = text.split("### 4.2 ")[1].split("```json")[1].split("```")[0]
    make_store(tmp_path / "s.zarr", {"a": 100}, row_shape=(768,))
    (part,) = (tmp_path / "s.zarr/tiny/parts").glob("*-*")
    (part / "features/zarr.json").write_text(document, encoding="utf-8")
    assert verify_store(tmp_path / "s.zarr").problems == []
    assert json.loads(document) == shard_metadata(100, (768,), "float16")
