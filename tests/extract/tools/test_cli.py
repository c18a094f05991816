import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from cache_schema.errors import ConfigError, StoreError, StoreNotFoundError
from cache_schema.proof.digest import store_digest
from cache_schema.row_writer import RowWriter, imported_recipe
from cache_schema.store import create_store, open_store
from cache_schema.testing import make_recipe, make_rows, make_store, make_times, make_video
from extract.tools.cli import store_command
from extract.tools.recompute import Recomputed, RowDifference

VIDEOS = {"a": 100, "b/c": 60}


@pytest.fixture
def path(tmp_path):
    make_store(tmp_path / "s.zarr", VIDEOS)
    return tmp_path / "s.zarr"


def vllm_store(*args):
    result = CliRunner().invoke(store_command, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def as_json(*args):
    return json.loads(vllm_store(*args, "--json").stdout)


def damage(path):
    (shard,) = path.glob("tiny/parts/*/features/c/0/0")
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)


def test_ls_lists_videos(path):
    lines = vllm_store("ls", path).output.splitlines()
    assert lines == ["tiny\ta\t100 rows\t50.000 s", "tiny\tb/c\t60 rows\t30.000 s"]
    (first, _) = as_json("ls", path, "--stream", "tiny")["tiny"]
    assert first == {
        "id": "a",
        "num_rows": 100,
        "duration_seconds": 50.0,
        "path": "videos/a.mp4",
        "digest": "digest of a",
    }
    with pytest.raises(ConfigError, match="no stream 'other'; it holds: tiny"):
        vllm_store("ls", path, "--stream", "other")


def test_info_tells_rows_with_times_of_their_own_from_rows_of_every_frame(tmp_path):
    with RowWriter(tmp_path / "f.zarr", imported_recipe("shots", fps=None)) as writer:
        writer.write("a", np.ones((2, 4), np.float32), [[0.0, 1.7], [1.7, 4.0]])
    assert (
        "encoder shots; times of its own, 1 to a row"
        in vllm_store("info", tmp_path / "f.zarr").output
    )


def test_info_says_what_a_store_holds_and_its_digest(path):
    found = as_json("info", path, "--digest")
    assert found["digest"] == store_digest(open_store(path))
    tiny = found["streams"]["tiny"]
    assert tiny.pop("recipe")["sampling"]["fps"] == "2"
    assert tiny == {
        "fingerprint": make_recipe().fingerprint,
        "num_videos": 2,
        "num_rows": 160,
        "row_shape": [4],
        "feature_bytes": 1280,
        "video_seconds": 80.0,
        "num_parts": 1,
        "encoder_source": "",
    }
    text = vllm_store("info", path, "--digest").output
    assert "2 videos, 0.02 h, 160 rows of float16 (4,)" in text
    assert text.endswith(f"digest {found['digest']}\n")


def test_info_says_where_the_encoder_came_from(tmp_path):
    with create_store(tmp_path / "s.h5") as writer:
        writer.stream("tiny", make_recipe(), (4,), encoder_source="/models/clip")
    assert as_json("info", tmp_path / "s.h5")["streams"]["tiny"]["encoder_source"] == "/models/clip"
    text = vllm_store("info", tmp_path / "s.h5").output
    assert text.endswith("\n  encoder loaded from /models/clip\n")


def test_info_of_an_empty_store_says_so(tmp_path):
    create_store(tmp_path / "s.h5").close()
    assert vllm_store("info", tmp_path / "s.h5").output == "no streams yet\n"


def test_verify_is_0_for_a_good_store_and_1_for_a_damaged_one(path):
    good = vllm_store("verify", path)
    assert good.exit_code == 0
    assert good.output == "2 videos, 160 rows checked; 0 rows made again: 0 problems.\n"
    damage(path)
    bad = vllm_store("verify", path)
    assert bad.exit_code == 1
    assert "PROBLEM: tiny / " in bad.output
    assert "/ a: features: crc32c is" in bad.output
    assert as_json("verify", path)["problems"][0]["video"] == "a"


@pytest.mark.parametrize("ok", [True, False])
def test_verify_recomputes_rows(path, monkeypatch, ok):
    def recompute_rows(stream, num_rows, seed, encoder, videos):
        assert (stream.name, encoder, videos) == ("tiny", "models/vit", None)
        row = RowDifference(video_id="a", row=seed, max_abs=0.5, cosine=0.9, tolerance=0.6, ok=ok)
        return Recomputed(rows=[row] * num_rows, problems=[])

    monkeypatch.setattr("extract.tools.recompute.recompute_rows", recompute_rows)
    result = vllm_store("verify", path, "--recompute", 3, "--seed", 7, "--encoder", "models/vit")
    assert result.exit_code == (0 if ok else 1)
    label = "same" if ok else "PROBLEM"
    line = f"{label}: a row 7: differs by 0.5 (at most 0.6), cosine 0.900000"
    assert result.output.splitlines()[:3] == [line] * 3


def test_import_fills_a_stream_and_says_what_it_did(tmp_path):
    (tmp_path / "i3d").mkdir()
    np.save(tmp_path / "i3d" / "a.npy", np.ones((5, 3), np.float32))
    command = ["import", tmp_path / "i3d", tmp_path / "f.h5", "--stream", "i3d"]
    base = ["--fps", "30000/1001", "--window", 16, "--stride", 8, "--dtype", "bfloat16"]
    assert vllm_store(*command, *base).output == (
        "1 videos (5 rows) imported into 'i3d', 0 were there already.\n"
    )
    assert as_json(*command, *base)["videos_skipped"] == 1
    times = open_store(tmp_path / "f.h5").stream().times("a")
    assert times[0].tolist() == [0.0, 16 * 1001 / 30000]


@pytest.mark.parametrize("fps", ["0", "-3", "fast", "1/0"])
def test_import_refuses_a_rate_that_is_none(tmp_path, fps):
    result = vllm_store(
        *("import", tmp_path, tmp_path / "f.zarr", "--stream", "x"),
        *("--fps", fps, "--window", 1, "--stride", 1),
    )
    assert result.exit_code == 2
    assert f"'{fps}' is not a positive number" in result.output


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_export_copies_to_either_backend(path, tmp_path, suffix):
    target = tmp_path / f"t{suffix}"
    assert vllm_store("export", path, target).output == f"2 videos copied to {target}.\n"
    assert as_json("info", target, "--digest") | {"streams": 0} == as_json(
        "info", path, "--digest"
    ) | {"streams": 0}
    assert as_json("export", path, target)["videos_copied"] == 0


def test_export_to_a_folder_writes_npy_files(path, tmp_path):
    vllm_store("export", path, tmp_path / "npy")
    values = np.load(tmp_path / "npy/tiny/features/b/c.npy")
    np.testing.assert_array_equal(values, make_rows(60, seed=1))
    np.testing.assert_array_equal(np.load(tmp_path / "npy/tiny/times/b/c.npy"), make_times(60))


def test_export_of_bfloat16_to_npy_is_float32(tmp_path):
    make_store(tmp_path / "s.h5", {"a": 3}, store_dtype="bfloat16")
    vllm_store("export", tmp_path / "s.h5", tmp_path / "npy")
    values = np.load(tmp_path / "npy/tiny/features/a.npy")
    bits = make_rows(3, dtype="bfloat16").astype(np.uint32) << 16
    np.testing.assert_array_equal(values, bits.view(np.float32))


def test_an_id_never_leads_out_of_the_export_folder(tmp_path):
    writer = create_store(tmp_path / "s.zarr")
    stream = writer.stream("tiny", make_recipe(), (4,))
    stream.append(make_rows(1))
    stream.commit(make_video("../../x"), make_times(1))
    writer.close()
    with pytest.raises(StoreError, match=r"'\.\./\.\./x' would lead out of this folder"):
        vllm_store("export", tmp_path / "s.zarr", tmp_path / "npy")


def test_compact_merges_parts_and_names_what_it_leaves(path):
    make_store(path, {"d": 10})
    writer = create_store(path)
    stream = writer.stream("tiny", make_recipe(), (4,))
    stream.append(make_rows(1))
    stream.commit(make_video("live"), make_times(1))
    lines = vllm_store("compact", path).output.splitlines()
    assert lines[0] == "tiny: 3 parts -> 2, 3 videos moved."
    assert lines[1].endswith("was left alone: a process writes it.")
    writer.close()
    (done,) = as_json("compact", path, "--unsealed-older-than", "0")
    assert (done["parts_after"], done["left_alone"]) == (1, {})
    assert open_store(path).stream().video_ids == ["a", "b/c", "d", "live"]


def test_a_missing_store_is_one_sentence(tmp_path):
    for command in ("ls", "info", "verify", "compact"):
        with pytest.raises(StoreNotFoundError, match="no such store"):
            vllm_store(command, tmp_path / "gone.zarr")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from extract.tools.cli import store_command\n"
        "try: store_command(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'zarr', 'h5py', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
