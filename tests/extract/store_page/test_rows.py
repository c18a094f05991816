import numpy as np
import pytest

from cache_schema.testing import make_recipe
from extract.store_page import rows as rows_module
from extract.store_page.rows import look_at, plan_spans
from tests.extract.store_page.planted import NUM_DIMS, noise, open_stream


def look(stream, seed=0):
    return look_at(stream, plan_spans(stream, seed), seed, lambda count: None)


def test_a_small_store_is_looked_at_as_a_whole(tmp_path):
    videos = {"a": noise(50, 1), "b/c": noise(7, 2)}
    stream = open_stream(tmp_path / "s.zarr", videos)
    looked = look(stream)
    assert (looked.video_ids, looked.num_rows_V.tolist()) == (["a", "b/c"], [50, 7])
    assert looked.row_R.tolist() == [*range(50), *range(7)]
    stored = np.concatenate([stream.read(video).float32 for video in looked.video_ids])
    np.testing.assert_array_equal(looked.kept_MD, stored)  # fewer than are kept
    means = [stream.read(video).float32.mean(axis=0) for video in looked.video_ids]
    np.testing.assert_allclose(looked.mean_VD, means, atol=1e-5)


def test_of_a_long_video_runs_are_read_that_are_spread_over_it(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "MOST_ROWS", 256)
    stream = open_stream(tmp_path / "s.zarr", {"a": noise(4000, 1), "b": noise(10, 2)})
    spans = [span for span in plan_spans(stream, 0) if span.video_id == "a"]
    assert [span.num_rows for span in spans] == [32] * 4  # half of 256 rows
    for number, span in enumerate(spans):
        assert 1000 * number <= span.first_row <= 1000 * (number + 1) - 32
    assert plan_spans(stream, 0) == plan_spans(stream, 0) != plan_spans(stream, 1)
    looked = look(stream)
    (chosen,) = np.nonzero(looked.video_R == 0)
    np.testing.assert_array_equal(
        looked.kept_MD[chosen], stream.read("a").float32[looked.row_R[chosen]]
    )


def test_of_very_many_videos_some_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "MOST_VIDEOS", 3)
    stream = open_stream(tmp_path / "s.zarr", {f"v{k}": noise(4, k) for k in range(9)})
    looked = look(stream)
    assert len(looked.video_ids) == 3
    assert looked.video_ids == sorted(set(looked.video_ids) & set(stream.video_ids))


@pytest.mark.parametrize("block_rows", [4, 1000])
def test_still_rows_are_counted_also_where_a_block_ends(tmp_path, monkeypatch, block_rows):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", block_rows * NUM_DIMS * 2)
    frozen = noise(30, 1)
    frozen[10:20] = frozen[10] * (1 + 0.001 * np.random.default_rng(0).random((10, 1)))
    videos = {"a": frozen, "b": noise(12, 2), "c": np.tile(noise(1, 3), (9, 1))}
    looked = look(open_stream(tmp_path / "s.zarr", videos))
    assert looked.num_still_V.tolist() == [9, 0, 8]


def test_sketches_keep_distances(tmp_path):
    stream = open_stream(tmp_path / "s.zarr", {"a": noise(200, 1, 512)})
    looked = look(stream)
    values = stream.read("a").float32
    true = np.linalg.norm(values[1:] - values[:-1], axis=1)
    told = np.linalg.norm(looked.sketch_RS[1:] - looked.sketch_RS[:-1], axis=1)
    assert np.median(told / true) == pytest.approx(1, abs=0.1)


def test_tokens_of_a_grid_are_averaged(tmp_path):
    values = np.random.default_rng(0).standard_normal((6, 5, 8), dtype=np.float32)
    stream = open_stream(tmp_path / "s.zarr", {"a": values})
    looked = look(stream)
    np.testing.assert_allclose(looked.kept_MD, stream.read("a").float32.mean(axis=1), atol=1e-6)
    assert looked.dimensions.num_values == 30


def test_what_is_no_number_does_not_spread(tmp_path):
    rows = noise(10, 1)
    rows[3, 7] = np.nan
    rows[4, 2] = np.inf
    looked = look(open_stream(tmp_path / "s.zarr", {"a": rows}))
    assert np.isfinite(looked.mean_VD).all()
    assert np.isfinite(looked.sketch_RS).all()
    assert looked.dimensions.not_finite == [2, 7]


def test_bfloat16_is_read_as_numbers(tmp_path):
    bits = np.full((4, 8), 0x3FC0, np.uint16)  # 1.5
    recipe = make_recipe(store_dtype="bfloat16")
    looked = look(open_stream(tmp_path / "s.zarr", {"a": bits}, recipe, np.uint16))
    assert set(looked.kept_MD.ravel().tolist()) == {1.5}
