from dataclasses import replace
from fractions import Fraction

import h5py
import numpy as np
import pytest
import torch

from cache_schema.errors import RecipeMismatchError, SourceError
from cache_schema.store import open_store
from cache_schema.stored_numbers import as_float32
from extract.tools.feature_files import find_feature_files
from extract.tools.import_features import ImportSettings, import_features

I3D = ImportSettings(stream="i3d", fps=Fraction(15), window_frames=16, stride_frames=8)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source" / "sub").mkdir(parents=True)
    return tmp_path / "source"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "f.zarr"


def features(num_rows=3, dim=4, dtype=np.float32):
    return np.arange(num_rows * dim, dtype=dtype).reshape(num_rows, dim)


def stored(source, out, settings=I3D):
    import_features(source, out, settings)
    stream = open_store(out).stream(settings.stream)
    dtype = settings.store_dtype
    return {name: as_float32(stream.read(name).values, dtype) for name in stream.video_ids}


def test_a_folder_becomes_a_stream_with_the_declared_times(source, out):
    np.save(source / "a.npy", features())
    np.save(source / "sub" / "b.v2.npy", features(1).astype(np.float64))
    found = stored(source, out)
    assert list(found) == ["a", "sub/b.v2"]
    np.testing.assert_array_equal(found["a"], features())
    stream = open_store(out).stream()
    assert stream.recipe.origin == "imported"
    assert stream.recipe.encoder.weights_sha256 == "unknown"
    expected = [[0, 16 / 15], [8 / 15, 24 / 15], [16 / 15, 32 / 15]]
    np.testing.assert_allclose(stream.times("a"), expected, rtol=1e-15)
    video = stream.commit("a").video
    assert (video.num_frames, video.duration_seconds, video.digest) == (32, 32 / 15, "unknown")


def test_every_kind_of_file_gives_its_array(source, out):
    np.savez(source / "npz.npz", features())
    torch.save(torch.from_numpy(features()), source / "pt.pt")
    torch.save(torch.from_numpy(features()).bfloat16(), source / "pt16.pt")
    np.save(source / "npy.npy", np.asfortranarray(features().astype(">f4")))
    with h5py.File(source / "all.h5", "w") as file:
        file["h5/x"] = features()
    found = stored(source, out)
    assert list(found) == ["all/h5/x", "npy", "npz", "pt", "pt16"]
    for values in found.values():
        np.testing.assert_array_equal(values, features())


def test_a_key_chooses_the_array_inside_each_file(source, out):
    np.savez(source / "npz.npz", rgb=features(), flow=features(9))
    torch.save({"rgb": torch.from_numpy(features()), "fps": 15}, source / "pt.pt")
    with h5py.File(source / "all.h5", "w") as file:
        file["video_1/rgb"], file["video_1/labels"] = features(), np.zeros(3)
    found = stored(source, out, replace(I3D, key="rgb", group_key="rgb"))
    assert list(found) == ["all/video_1", "npz", "pt"]
    assert {values.shape for values in found.values()} == {(3, 4)}


def test_a_file_named_directly_gives_its_datasets_no_prefix(source):
    with h5py.File(source / "all.h5", "w") as file:
        file["video_1/rgb"] = features()
    (found,) = find_feature_files(source / "all.h5", None, "rgb")
    assert (found.video_id, found.key) == ("video_1", "video_1/rgb")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_features_are_stored_in_the_dtype_asked_for(source, out, dtype):
    values = features() + 1 / 3
    np.save(source / "a.npy", values)
    found = stored(source, out, replace(I3D, store_dtype=dtype))
    expected = torch.from_numpy(values).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(found["a"], expected)


def test_transposed_and_grid_files_are_read(source, out, tmp_path):
    np.save(source / "a.npy", features().T)
    found = stored(source, out, replace(I3D, transpose=True))
    np.testing.assert_array_equal(found["a"], features())
    np.save(source / "a.npy", features(6).reshape(3, 2, 4))
    assert stored(source, tmp_path / "grid.h5")["a"].shape == (3, 2, 4)


def test_a_second_import_skips_what_is_there(source, out):
    np.save(source / "a.npy", features())
    import_features(source, out, I3D)
    np.save(source / "b.npy", features(2))
    report = import_features(source, out, I3D)
    assert (report.videos_imported, report.videos_skipped, report.rows_imported) == (1, 1, 2)
    assert open_store(out).stream().video_ids == ["a", "b"]


def test_a_changed_file_is_named(source, out):
    np.save(source / "a.npy", features())
    import_features(source, out, I3D)
    np.save(source / "a.npy", features() + 1)
    with pytest.raises(SourceError, match=r"a\.npy: has changed since 'a' was imported"):
        import_features(source, out, I3D)


def test_another_time_base_is_another_stream(source, out):
    np.save(source / "a.npy", features())
    import_features(source, out, I3D)
    with pytest.raises(RecipeMismatchError, match=r"sampling\.fps = 15, not 25"):
        import_features(source, out, replace(I3D, fps=Fraction(25)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([{"a": 1}], dtype=object), "Object arrays cannot be loaded"),
        (np.zeros((3, 4), np.int64), "holds int64, expected an array of floating"),
        (np.zeros(4, np.float32), r"has shape \(4,\), expected \(rows, dim\)"),
        (np.zeros((0, 4), np.float32), r"has shape \(0, 4\), expected"),
        (np.array([[1, np.nan], [1, 2]]), "1 of 2 rows hold NaN or infinity"),
        (np.array([[1, 1e6], [1, 2]]), r"values up to 1e\+06 do not fit float16"),
    ],
)
def test_an_array_that_is_no_features_is_refused_and_named(source, out, values, message):
    np.save(source / "bad.npy", values, allow_pickle=True)
    with pytest.raises(SourceError, match=rf"bad\.npy.*{message}"):
        import_features(source, out, I3D)


def test_python_objects_in_a_pt_file_are_never_loaded(source, out):
    torch.save({"model": ImportSettings}, source / "bad.pt")
    with pytest.raises(SourceError, match=r"bad\.pt: .* Python objects, which are never loaded"):
        import_features(source, out, I3D)


@pytest.mark.parametrize("name", ["cut.npy", "cut.npz", "cut.pt", "cut.h5"])
def test_a_file_cut_short_is_named(source, out, name):
    np.save(source / "a.npy", features())
    (source / name).write_bytes(b"PK\x03\x04" if name[-1] in "zt" else b"\x93NUMPY\x01\x00")
    with pytest.raises(SourceError, match=rf"cut\.{name[4:]}: .*"):
        import_features(source, out, I3D)


def test_several_arrays_without_a_key_are_listed(source, out):
    np.savez(source / "a.npz", rgb=features(), flow=features())
    with pytest.raises(SourceError, match=r"a\.npz: holds flow, rgb\. Choose one with --key"):
        import_features(source, out, I3D)


def test_rows_of_another_width_are_named(source, out):
    np.save(source / "a.npy", features())
    np.save(source / "b.npy", features(2, dim=5))
    with pytest.raises(SourceError, match=r"b\.npy: has rows of shape \(5,\), .* \(4,\)"):
        import_features(source, out, I3D)
    assert open_store(out).stream().video_ids == ["a"]


def test_two_files_for_one_video_are_named(source, out):
    np.save(source / "a.npy", features())
    torch.save(torch.from_numpy(features()), source / "a.pt")
    with pytest.raises(SourceError, match=r"a\.\w+ and .*a\.\w+ would both be video 'a'"):
        import_features(source, out, I3D)


def test_a_source_without_feature_files_says_what_it_looked_for(source, out):
    (source / "a.mp4").touch()
    with pytest.raises(SourceError, match=r"no feature file there\. Looked for \.npy"):
        import_features(source, out, I3D)
    with pytest.raises(SourceError, match="no such file or folder"):
        import_features(source / "gone", out, I3D)
    assert not out.exists()
