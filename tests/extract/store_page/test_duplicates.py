import numpy as np
import pytest

from extract.store_page import duplicates as duplicates_module
from extract.store_page.duplicates import find_duplicates
from extract.store_page.rows import look_at, plan_spans
from tests.extract.store_page.planted import noise, open_stream


def find(tmp_path, videos):
    stream = open_stream(tmp_path / "s.zarr", videos)
    looked = look_at(stream, plan_spans(stream, 0), 0, lambda count: None)
    return find_duplicates(stream, looked, lambda count: None), looked


def unrelated(count=12):
    return {f"v{k:02}": noise(40, k) for k in range(count)}


def test_unrelated_videos_are_no_duplicates(tmp_path):
    found, _ = find(tmp_path, unrelated())
    assert (found.near, found.same_file, found.same_rows) == ([], [], [])


def test_cut_shifted_and_disturbed_copies_are_one_group(tmp_path):
    videos = unrelated()
    disturbed = videos["v03"] + 0.1 * np.random.default_rng(9).standard_normal(videos["v03"].shape)
    videos |= {"shifted": videos["v03"][7:], "cut": videos["v03"][10:30], "disturbed": disturbed}
    videos["copy"] = videos["v05"]
    found, _ = find(tmp_path, videos)
    groups = {tuple(group): likeness for group, likeness in found.near}
    assert set(groups) == {("copy", "v05"), ("cut", "disturbed", "shifted", "v03")}
    assert groups["copy", "v05"] == pytest.approx(1)
    assert found.same_rows == [["copy", "v05"]]


def test_a_frozen_frame_of_a_scene_is_no_copy_of_it(tmp_path):
    videos = unrelated()
    videos["frozen"] = np.repeat(videos["v02"][20:21], 30, axis=0)
    found, _ = find(tmp_path, videos)
    assert found.near == []


def test_nearest_videos_are_those_of_the_nearest_mean_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates_module, "BLOCK_VIDEOS", 5)  # several blocks
    found, looked = find(tmp_path, unrelated(23))
    centred = looked.mean_VD - looked.kept_MD.mean(axis=0)
    for place, one in enumerate(centred):
        cosines = [
            one @ other / np.linalg.norm(one) / np.linalg.norm(other) if k != place else -2
            for k, other in enumerate(centred)
        ]
        assert found.nearest_V[place] == np.argmax(cosines)
        assert found.similarity_V[place] == pytest.approx(max(cosines), abs=1e-5)


def test_one_video_has_no_nearest(tmp_path):
    found, _ = find(tmp_path, {"a": noise(5, 1)})
    assert found.nearest_V.tolist() == [-1]
    assert np.isnan(found.similarity_V).all()


def test_too_many_near_pairs_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates_module, "MOST_PAIRS", 2)
    rows = noise(20, 1)
    videos = unrelated() | {f"copy{k}": rows for k in range(4)}
    found, _ = find(tmp_path, videos)
    assert found.num_compared == 2
    assert found.num_left_out >= 4  # of the six pairs of copies
    assert found.same_rows == [["copy0", "copy1", "copy2", "copy3"]]
