from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cache_schema.errors import SourceError
from cache_schema.store import open_store
from extract.tools import feature_files, feature_layout
from extract.tools.import_features import import_features
from tests.extract.tools.test_import_features import I3D

TRANSPOSED = replace(I3D, transpose=True)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "f.zarr"


def save(source, kind, shapes):
    """Write an array of ones for each shape: into files of their own or one HDF5 file."""
    arrays = {f"v{number:02d}": np.ones(shape, "f4") for number, shape in enumerate(shapes)}
    if kind == "h5":
        with h5py.File(source / "all.h5", "w") as file:
            for name, array in arrays.items():
                file[name] = array
        return
    for name, array in arrays.items():
        if kind == "pt":
            torch.save(torch.from_numpy(array), source / f"{name}.pt")
        else:
            {"npy": np.save, "npz": np.savez}[kind](source / f"{name}.{kind}", array)


@pytest.mark.parametrize("kind", ["npy", "npz", "pt", "h5"])
def test_files_of_dim_by_time_are_refused_before_anything_is_written(source, out, kind):
    save(source, kind, [(4, 7), (4, 7), (4, 9)])
    with pytest.raises(
        SourceError, match=r"\(4, 7\).*\(4, 9\).*look like \(D, T\).*Give --transpose"
    ):
        import_features(source, out, I3D)
    assert not out.exists()
    import_features(source, out, TRANSPOSED)
    assert open_store(out).stream().row_shape == (4,)


@pytest.mark.parametrize("kind", ["npy", "npz", "pt", "h5"])
def test_files_of_time_by_dim_are_not_transposed(source, out, kind):
    save(source, kind, [(7, 4), (9, 4)])
    with pytest.raises(SourceError, match=r"\(7, 4\).*look like \(T, D\).*Give --no-transpose"):
        import_features(source, out, TRANSPOSED)
    assert not out.exists()
    import_features(source, out, I3D)
    assert open_store(out).stream().row_shape == (4,)


@pytest.mark.parametrize("shapes", [[(4, 7)], [(4, 7), (4, 7)], [(4, 2, 3), (5, 2, 3)]])
def test_what_cannot_be_told_is_taken_as_it_was_said(source, out, shapes):
    save(source, "npy", shapes)
    import_features(source, out, I3D)
    assert open_store(out).stream().row_shape == shapes[0][1:]


def test_files_that_differ_in_both_are_left_to_the_import(source, out):
    save(source, "npy", [(4, 7), (4, 9), (5, 8)])
    with pytest.raises(SourceError, match=r"v01.npy: has rows of shape \(9,\)"):
        import_features(source, out, I3D)


def test_a_file_that_cannot_be_read_hides_nothing(source, out):
    save(source, "npy", [(4, 7), (4, 9)])
    (source / "a.npy").write_text("no array")
    with pytest.raises(SourceError, match="Give --transpose"):
        import_features(source, out, I3D)


def test_of_npy_files_headers_are_read_and_of_others_a_few_are_opened(source, monkeypatch):
    opened = []
    honest = feature_files.read_features
    monkeypatch.setattr(
        feature_files, "read_features", lambda file: opened.append(file) or honest(file)
    )
    (source / "npy").mkdir()
    save(source / "npy", "npy", [(4, 7)] * 30)
    save(source, "npz", [(4, 7)] * 30)
    files = feature_files.find_feature_files(Path(source), None)
    feature_layout.refuse_other_layout(files, transpose=False)
    assert len(opened) == feature_layout.MOST_FILES_OPENED
    assert {file.path.suffix for file in opened} == {".npz"}


def test_the_last_npy_file_counts_as_much_as_the_first(source, out):
    save(source, "npy", [(4, 7)] * 40 + [(4, 8)])
    with pytest.raises(SourceError, match=r"v40.npy has shape \(4, 8\)"):
        import_features(source, out, I3D)


def test_a_stream_that_is_there_tells_the_width_itself(source, out, tmp_path):
    (tmp_path / "first").mkdir()
    np.save(tmp_path / "first" / "a.npy", np.ones((7, 4), "f4"))
    import_features(tmp_path / "first", out, I3D)
    save(source, "npy", [(3, 4), (3, 5)])
    with pytest.raises(SourceError, match=r"v01\.npy: has rows of shape"):
        import_features(source, out, I3D)
