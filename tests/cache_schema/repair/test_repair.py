"""What repair puts back is, byte for byte, what was there; what it cannot, it names."""

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from cache_schema.convert.compact import compact_store
from cache_schema.errors import SchemaVersionError, StoreCorruptError, StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.repair.store import repair_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe
from extract.tools.cli import store_command
from tests.cache_schema.damage import (
    SOURCE,
    STREAMS,
    flip_bit,
    rows_of,
    videos_read_wrong,
    write_session,
    write_zarr,
    zarr_files,
)

HEADERS = ["zarr.json", *(f"{s}{p}/zarr.json" for s in STREAMS for p in ("", "/parts"))]
OF_A_SEALED_PART = (
    "zarr.json",
    "commits.log",
    "commits.copy",
    "features/zarr.json",
    "time/zarr.json",
)
MENDABLE = [*HEADERS, *(f"{s}/parts/sealed/{name}" for s in STREAMS for name in OF_A_SEALED_PART)]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "s.zarr"
    write_zarr(path)
    return path


@pytest.fixture
def store(good, tmp_path):
    shutil.copytree(good, tmp_path / "s.zarr")
    return tmp_path / "s.zarr"


def contents(store):
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def repair(store, **settings):
    return repair_store(store, quiet_seconds=0, **settings)


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
@pytest.mark.parametrize("file", MENDABLE)
def test_what_lies_twice_or_follows_from_the_rest_is_put_back(store, file, damage):
    before, path = contents(store), zarr_files(store)[file]
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        flip_bit(path, path.stat().st_size // 3, bit=2)
    if file == "zarr.json" and damage == "flipped":
        flip_bit(path, path.stat().st_size // 3, bit=2)
        path.write_text(path.read_text().replace("video-feature-store", "video-feature-stove"))
    damaged = contents(store)
    rehearsal = repair(store, dry_run=True)
    assert contents(store) == damaged
    assert rehearsal.report.problems
    done = repair(store)
    assert done.mended == rehearsal.mended
    assert [sentence.split(": ")[0] for sentence in done.mended] == [str(path)]
    assert (done.report.problems, done.left_alone) == ([], {})
    assert contents(store) == before


def test_a_good_store_is_left_as_it_is(store):
    document = json.loads((store / "flat" / "zarr.json").read_text())
    document["attributes"]["note"] = "made for the talk"  # as a user may write with Zarr
    (store / "flat" / "zarr.json").write_text(json.dumps(document))
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    done = repair(store)
    assert (done.mended, done.left_alone, done.report.problems) == ([], {}, [])
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_a_store_without_any_zarr_json_gets_back_what_the_sealed_parts_know(store):
    before = contents(store)
    for path in store.rglob("zarr.json"):
        path.unlink()
    assert repair(store).report.problems == []
    assert contents(store) == before


@pytest.mark.parametrize("stream", STREAMS)
def test_the_end_of_a_shard_file_is_put_back(store, stream):
    before, files = contents(store), zarr_files(store)
    (features,) = (
        path for name, path in files.items() if name.startswith(f"{stream}/parts/sealed/features/c")
    )
    os.truncate(features, features.stat().st_size - 30)
    flip_bit(files[f"{stream}/parts/sealed/time/c/0/0"], -5)
    assert repair(store).report.problems == []
    assert contents(store) == before


def test_rows_that_are_lost_are_named_and_nothing_is_made_up(store):
    features = zarr_files(store)["flat/parts/sealed/features/c/0/0"]
    os.truncate(features, 20 * 16)
    before = contents(store)
    done = repair(store)
    assert (contents(store), done.mended) == (before, [])
    assert done.left_alone == {str(features): "rows are missing, and nothing else holds them"}
    assert {problem.video for problem in done.report.problems} >= {"b", "c", "d"}


@pytest.mark.parametrize("damage", ["gone", "damaged line"])
def test_the_journal_of_an_unsealed_part_is_named_as_lost(store, damage):
    journal = zarr_files(store)["flat/parts/open/commits.log"]
    if damage == "gone":
        journal.unlink()
    else:
        flip_bit(journal, 20)
    before = contents(store)
    done = repair(store)
    assert (contents(store), done.mended) == (before, [])
    (problem,) = done.report.problems
    assert str(journal) in problem.what
    assert "extract its videos again" in problem.what


def remake_as_an_old_store(store):
    """Take away what came later: the copies, and what speaks of them."""
    for path in store.rglob("commits.copy"):
        path.unlink()
        document = json.loads((path.parent / "zarr.json").read_text())
        del document["attributes"]["commits_crc32c"]
        (path.parent / "zarr.json").write_text(json.dumps(document, indent=1))
    for stream in STREAMS:
        path = store / stream / "parts" / "zarr.json"
        path.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))


@pytest.fixture
def old_store(store):
    files = zarr_files(store)
    remake_as_an_old_store(store)
    return store, files


def test_an_old_store_is_whole_and_left_as_it_is(old_store):
    store, _ = old_store
    before = contents(store)
    assert verify_store(store).problems == []
    assert repair(store).mended == []
    assert contents(store) == before


@pytest.mark.parametrize("file", ["zarr.json", "features/zarr.json", "time/zarr.json"])
def test_the_headers_of_an_old_part_are_put_back_from_its_journal(old_store, file):
    store, files = old_store
    digest = store_digest(open_store(store))
    files[f"flat/parts/sealed/{file}"].unlink()
    assert repair(store).report.problems == []
    assert store_digest(open_store(store)) == digest


def test_the_header_of_an_old_stream_is_named_as_lost(old_store):
    store, files = old_store
    files["flat/zarr.json"].unlink()
    done = repair(store)
    assert done.mended == []
    assert done.left_alone == {
        str(store / "flat"): "what is left does not prove what its header was"
    }
    (problem,) = done.report.problems
    assert f"{store}/flat/zarr.json: is gone" in problem.what


def test_an_old_journal_that_lost_lines_never_becomes_the_truth(old_store):
    store, files = old_store
    journal, header = (files[f"flat/parts/sealed/{n}"] for n in ("commits.log", "zarr.json"))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    header.unlink()
    done = repair(store)
    assert done.mended == []
    assert list(done.left_alone.values()) == ["what is left does not prove what it was sealed with"]
    assert done.report.problems


def test_of_two_headers_the_one_that_fits_the_rows_is_kept(store):
    path = store / "flat" / "zarr.json"
    before = contents(store)
    path.write_text(path.read_text().replace("  8\n", "  4\n"))
    assert contents(store) != before
    with pytest.raises(StoreCorruptError, match="which are a copy; one of the two was altered"):
        open_store(store)
    assert repair(store).report.problems == []
    assert contents(store) == before


def test_a_writer_makes_no_header_over_parts_that_lost_theirs(store):
    (store / "flat" / "zarr.json").unlink()
    writer = create_store(store)
    with pytest.raises(StoreCorruptError, match=r"flat/zarr.json: is gone.*vllm-store repair"):
        writer.stream("flat", make_recipe(encoder_id="other"), (8,))
    assert not (store / "flat" / "zarr.json").exists()


def test_a_store_without_its_root_header_is_no_place_for_a_new_one(store):
    (store / "zarr.json").unlink()
    with pytest.raises(StoreCorruptError, match=r"s.zarr/zarr.json: is gone.*vllm-store repair"):
        create_store(store)


def test_a_part_whose_writer_lives_is_left_alone(tmp_path):
    path = tmp_path / "s.zarr"
    writer = create_store(path)
    stream = writer.stream("flat", make_recipe(), (8,))
    add_video(stream, "a", rows_of("a", "flat"))
    (part,) = (path / "flat/parts").glob("*-*")
    (part / "features/zarr.json").write_text("{}")  # as if it were sealing
    before = contents(path)
    done = repair(path)
    assert done.left_alone == {str(part): "a process writes it"}
    assert contents(path) == before
    writer.close()
    assert verify_store(path).problems == []


def test_a_part_that_may_be_sealed_on_another_machine_is_left_alone(store):
    header = zarr_files(store)["flat/parts/sealed/zarr.json"]
    header.unlink()
    (reason,) = repair_store(store, quiet_seconds=60).left_alone.values()
    assert reason.endswith("s ago, maybe by another machine")
    an_hour_ago = time.time() - 3600
    for path in header.parent.rglob("*"):
        os.utime(path, (an_hour_ago, an_hour_ago))
    assert repair_store(store, quiet_seconds=60).report.problems == []


def test_a_store_of_another_version_is_not_touched(store):
    text = (store / "zarr.json").read_text()
    (store / "zarr.json").write_text(text.replace('_version": 1', '_version": 9'))
    zarr_files(store)["flat/parts/sealed/zarr.json"].unlink()
    before = contents(store)
    with pytest.raises(SchemaVersionError):
        repair(store)
    assert contents(store) == before


def test_compaction_keeps_its_hands_off_a_part_that_lost_its_journal(store):
    zarr_files(store)["flat/parts/open/commits.log"].unlink()
    before = contents(store)
    with pytest.raises(StoreError, match=r"commits.log: is gone"):
        compact_store(store, quiet_seconds=0)
    assert contents(store) == before


def test_a_part_that_compaction_was_removing_is_no_loss(store):
    part = zarr_files(store)["flat/parts/sealed/commits.log"].parent
    (part / "removed").touch()
    (part / "commits.log").unlink()
    assert verify_store(store).problems == []
    assert repair(store).mended == []
    assert open_store(store).streams["flat"].video_ids == ["p", "q", "r", "s"]


def test_an_hdf5_file_is_verified_and_not_written(tmp_path):
    path = tmp_path / "s.h5"
    write_session(path, "ab")
    at = path.read_bytes().index(rows_of("b", "grid").tobytes())
    flip_bit(path, at)
    before = path.read_bytes()
    done = repair_store(path)
    (problem,) = done.report.problems
    assert (problem.stream, problem.video, done.mended) == ("grid", "b", [])
    assert path.read_bytes() == before


def test_the_command_says_what_it_put_back_and_what_is_lost(store):
    files = zarr_files(store)
    files["flat/zarr.json"].unlink()
    files["grid/parts/sealed/zarr.json"].unlink()
    command = ["repair", str(store), "--unsealed-older-than", "0"]
    rehearsal = CliRunner().invoke(store_command, [*command, "--dry-run"])
    assert rehearsal.exit_code == 1
    assert "would put back: " in rehearsal.output
    done = CliRunner().invoke(store_command, command)
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"put back: {files['flat/zarr.json']}: from its copies",
        f"put back: {files['grid/parts/sealed/zarr.json']}: from the journal",
        "2 files put back; 0 problems left.",
    ]
    found = json.loads(CliRunner().invoke(store_command, [*command, "--json"]).stdout)
    assert (found["mended"], found["report"]["problems"]) == ([], [])
    flip_bit(files["flat/parts/open/features/c/0/0"], 3)
    lost = CliRunner().invoke(store_command, command)
    assert lost.exit_code == 1
    assert lost.output.startswith("PROBLEM: flat / ")
    assert videos_read_wrong(store) == [("flat", "p")]


def change_source(store, source):
    path = store / "flat" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"].pop("encoder_source")
    document["attributes"] |= {"encoder_source": source} if source else {}
    path.write_text(json.dumps(document, indent=1))
    return path


@pytest.mark.parametrize("source", ["", "/models/clap"])
def test_where_the_encoder_came_from_is_put_back_from_the_sealed_parts(store, source):
    before = contents(store)
    path = change_source(store, source)
    assert open_store(store).streams["flat"].encoder_source == source
    (problem,) = verify_store(store).problems
    assert problem.what.startswith(
        f"{path}: encoder_source is {source!r}, its parts were sealed with '{SOURCE}'"
    )
    assert repair(store).mended == [f"{path}: from its copies"]
    assert contents(store) == before


def test_parts_sealed_by_writers_that_know_of_no_source_prove_nothing(store):
    path = change_source(store, "")
    compact_store(store, quiet_seconds=0)  # seals new parts without
    document = json.loads(path.read_text())
    document["attributes"]["encoder_source"] = SOURCE
    path.write_text(json.dumps(document, indent=1))
    before = contents(store)
    done = repair(store)
    assert (done.mended, done.report.problems) == ([], [])
    assert contents(store) == before
