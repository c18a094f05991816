"""Each preset on files in the layout of its release, made here."""

import json
import re
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cache_schema.errors import RecipeMismatchError, SourceError
from cache_schema.store import open_store
from extract.tools.cli import store_command
from extract.tools.presets import PRESETS

NUM_ROWS = {"v1": 5, "v2": 7}
DOCS = Path(__file__).parents[3] / "docs" / "published-features.md"


def vllm_store(*args):
    result = CliRunner().invoke(store_command, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows(name, dim):
    """Return (T, D) numbers that float16 holds and that tell rows and dimensions apart."""
    rng = np.random.default_rng(len(name) + NUM_ROWS[name])
    return rng.integers(-999, 999, (NUM_ROWS[name], dim)).astype(np.float32)


def npy(folder, dim):
    for name in NUM_ROWS:
        np.save(folder / f"{name}.npy", rows(name, dim))


def npy_time_last(folder, dim):
    for name in NUM_ROWS:
        np.save(folder / f"{name}.npy", rows(name, dim).T)


def pt(folder, dim):
    for name in NUM_ROWS:
        torch.save(torch.from_numpy(rows(name, dim)), folder / f"{name}.pt")


def npz_features(folder, dim):
    for name in NUM_ROWS:
        np.savez(folder / f"{name}.npz", features=rows(name, dim).astype(np.float16))


def npz_feats(folder, dim):
    for name in NUM_ROWS:
        np.savez(folder / f"{name}.npz", feats=rows(name, dim))


def hdf5(folder, dim):
    with h5py.File(folder / "vid_all.hdf5", "w") as file:
        for name in NUM_ROWS:
            file.create_dataset(name, data=rows(name, dim))


def frame_database(folder, dim):
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as writer:
        for name in NUM_ROWS:
            for number, row in enumerate(rows(name, dim), start=1):
                writer.put(f"{name}_frame_{number:010d}.jpg".encode(), row.tobytes())


# Start of rows 0 and 1 and end of row 0, in seconds, worked out by hand from the releases' words.
EACH_FRAME_OF_15 = (1 / 15, 1 / 15)
EACH_FRAME_OF_30 = (1 / 30, 1 / 30)
QUARTERS = (0.25, 0.25)
EVERY_16_OF_30 = (0.5333333333333333, 1.0666666666666667)
PAIRS_OF_SECONDS = (2.0, 2.0)
PUBLISHED = [
    ("ms-tcn-i3d", npy_time_last, 2048, *EACH_FRAME_OF_15),
    ("ms-tcn-i3d-50salads", npy_time_last, 2048, *EACH_FRAME_OF_30),
    ("rulstm-rgb", frame_database, 1024, *EACH_FRAME_OF_30),
    ("rulstm-flow", frame_database, 1024, *EACH_FRAME_OF_30),
    ("rulstm-obj", frame_database, 352, *EACH_FRAME_OF_30),
    ("testra-rgb", npy, 1024, *QUARTERS),
    ("testra-flow", npy, 1024, *QUARTERS),
    ("testra-obj", npy, 352, *QUARTERS),
    ("ego4d-slowfast", pt, 2304, *EVERY_16_OF_30),
    ("ego4d-omnivore", pt, 1536, *EVERY_16_OF_30),
    ("egovlp", pt, 256, 100 / 187, 100 / 187),
    ("actionformer-ego4d-slowfast", npy, 2304, *EVERY_16_OF_30),
    ("actionformer-ego4d-omnivore", npy, 1536, *EVERY_16_OF_30),
    ("actionformer-ego4d-egovlp", npy, 256, *EVERY_16_OF_30),
    ("actionformer-epic-slowfast", npz_feats, 2304, *EVERY_16_OF_30),
    ("qvhighlights-slowfast", npz_features, 2304, *PAIRS_OF_SECONDS),
    ("qvhighlights-clip", npz_features, 512, *PAIRS_OF_SECONDS),
    ("hero-slowfast", npz_features, 2304, 1.5, 1.5),
    ("hero-slowfast", hdf5, 2304, 1.5, 1.5),
    ("hero-resnet", npz_features, 2048, 1.5, 1.5),
    ("hero-clip", npz_features, 512, 1.5, 1.5),
    ("tvr-resnet-i3d", hdf5, 3072, 1.5, 1.5),
    ("univtg-slowfast", npz_features, 2304, *PAIRS_OF_SECONDS),
    ("univtg-slowfast", hdf5, 2304, *PAIRS_OF_SECONDS),
    ("univtg-clip", npz_features, 512, *PAIRS_OF_SECONDS),
    ("univtg-clip", hdf5, 512, *PAIRS_OF_SECONDS),
]


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "f.zarr"


def test_every_preset_is_tried():
    assert {name for name, *_ in PUBLISHED} == set(PRESETS)


@pytest.mark.parametrize(
    ("name", "write", "dim", "step", "length"),
    PUBLISHED,
    ids=[f"{name}-{write.__name__}" for name, write, *_ in PUBLISHED],
)
def test_a_release_becomes_a_stream_with_its_rows_and_times(
    source, out, name, write, dim, step, length
):
    write(source, dim)
    # A file of many videos is given itself, so that its name is no part of their ids.
    (place,) = source.glob("*.hdf5") if write is hdf5 else (source,)
    assert (
        "2 videos (12 rows) imported" in vllm_store("import", place, out, "--preset", name).output
    )
    stream = open_store(out).stream()
    assert (stream.name, stream.video_ids) == (name, ["v1", "v2"])
    for video, num_rows in NUM_ROWS.items():
        found = stream.read(video)
        np.testing.assert_array_equal(found.values, rows(video, dim).astype(np.float16))
        starts = [step * number for number in range(num_rows)]
        np.testing.assert_allclose(found.times_R2[:, 0], starts, rtol=1e-14)
        ends = [start + length for start in starts]
        np.testing.assert_allclose(found.times_R2[:, 1], ends, rtol=1e-14)


# --- the (D, T) trap ----------------------------------------------------------------------------


def test_one_file_that_lies_the_other_way_is_refused_by_its_dim(source, out):
    np.save(source / "v1.npy", rows("v1", 2048))
    with pytest.raises(SourceError, match=r"\(5, 2048\), expected \(D, T\).*Give --no-transpose"):
        vllm_store("import", source, out, "--preset", "ms-tcn-i3d")
    assert not out.exists()
    vllm_store("import", source, out, "--preset", "ms-tcn-i3d", "--no-transpose")
    assert open_store(out).stream().row_shape == (2048,)
    torch.save(torch.from_numpy(rows("v1", 2304).T.copy()), source / "v1.pt")
    with pytest.raises(SourceError, match=r"\(2304, 5\), expected \(T, D\).*Give --transpose"):
        vllm_store("import", source / "v1.pt", out, "--preset", "ego4d-slowfast")


def test_one_file_that_lies_the_other_way_is_found_before_others_are_written(source, out):
    for name, shape in (("a", (2048, 40)), ("b", (2048, 55)), ("c", (30, 2048))):
        np.save(source / f"{name}.npy", np.zeros(shape, np.float32))
    with pytest.raises(SourceError, match=r"c\.npy: has shape \(30, 2048\), expected \(D, T\)"):
        vllm_store("import", source, out, "--preset", "ms-tcn-i3d")
    assert not out.exists()


def test_features_of_another_network_are_refused(source, out):
    np.savez(source / "v1.npz", features=rows("v1", 512))
    with pytest.raises(SourceError, match=r"\(5, 512\), expected \(T, D\) with D = 2304\. Import"):
        vllm_store("import", source, out, "--preset", "qvhighlights-slowfast")


# --- flags --------------------------------------------------------------------------------------


def test_flags_win_over_the_preset(source, out):
    np.savez(source / "v1.npz", rgb=rows("v1", 2304), features=rows("v1", 3))
    flags = ["--stream", "mine", "--window", 30, "--key", "rgb", "--dtype", "float32"]
    vllm_store("import", source, out, "--preset", "actionformer-epic-slowfast", *flags)
    stream = open_store(out).stream("mine")
    np.testing.assert_array_equal(stream.read("v1").values, rows("v1", 2304))
    np.testing.assert_allclose(stream.times("v1")[1], [16 / 30, 46 / 30], rtol=1e-14)


def test_a_key_that_is_given_names_the_datasets_of_videos(source, out):
    with h5py.File(source / "all.h5", "w") as file:
        file["v1/clip"], file["v1/labels"] = rows("v1", 512), np.zeros(5)
    vllm_store("import", source, out, "--preset", "univtg-clip", "--key", "clip")
    assert open_store(out).stream().video_ids == ["all/v1"]


def test_seconds_per_row_lay_rows_side_by_side(source, out):
    npz_features(source, 2304)
    preset = ["--preset", "hero-slowfast", "--seconds-per-row", "2"]
    vllm_store("import", source, out, *preset)
    np.testing.assert_array_equal(open_store(out).stream().times("v1")[4], [8.0, 10.0])
    with pytest.raises(RecipeMismatchError, match=r"sampling\.fps"):
        vllm_store("import", source, out, "--preset", "hero-slowfast")
    np.save(source / "v3.npy", rows("v1", 4))
    own = ["--stream", "own", "--seconds-per-row", "0.1"]
    vllm_store("import", source / "v3.npy", out, *own)
    assert open_store(out).stream("own").recipe.sampling.fps == 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stream", "x"], "Say how rows lie in time"),
        (["--stream", "x", "--fps", "15", "--window", "1"], "Say how rows lie in time"),
        (["--seconds-per-row", "2"], "Missing option '--stream'"),
        (["--stream", "x", "--seconds-per-row", "2", "--fps", "1"], "give it or them"),
        (["--preset", "egovlp", "--seconds-per-row", "2", "--stride", "1"], "give it or them"),
        (["--preset", "egovlp", "--seconds-per-row", "-2"], "'-2' is not a positive number"),
        (["--preset", "i4d"], "'i4d' is not one of"),
    ],
)
def test_flags_that_say_too_little_or_too_much(source, out, flags, message):
    result = vllm_store("import", source, out, *flags)
    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


def test_an_import_needs_a_source_and_a_store(source):
    result = vllm_store("import", source, "--preset", "egovlp")
    assert result.exit_code == 2
    assert "Give SOURCE and STORE" in result.output


# --- the list -----------------------------------------------------------------------------------


def test_presets_are_listed_for_people_and_programs():
    lines = vllm_store("import", "--list-presets").output.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert "D 2304  every 0.533 s, 1.07 s long  .pt (T, D)" in lines[8]
    listed = json.loads(vllm_store("import", "--list-presets", "--json").output)
    assert [one["name"] for one in listed] == list(PRESETS)
    assert (listed[0]["fps"], listed[0]["transpose"], listed[0]["dim"]) == ("15", True, 2048)
    assert listed[0]["source"] == "https://github.com/yabufarha/ms-tcn"


def test_the_page_says_of_each_preset_what_it_does():
    text = DOCS.read_text(encoding="utf-8")
    said = {
        name: (files, int(dim), times)
        for name, files, dim, times in re.findall(
            r"^\| `([\w-]+)` \|[^|]*\| ([^|]*) \| (\d+) \| ([^|]*) \|$", text, re.M
        )
    }
    assert list(said) == list(PRESETS)
    for name, preset in PRESETS.items():
        base = f"{preset.fps} / {preset.window_frames} / {preset.stride_frames}"
        assert said[name] == (preset.files, preset.dim, base)
        assert preset.source in text
