import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from cache_schema.store import open_store
from cache_schema.timeline import count_rows
from cache_schema.writing import pending
from extract.decode.process import DecoderProcess
from extract.encode.encoders import ENCODERS
from extract.encode.encoders.fake import FakeEncoder
from extract.encode.preprocess import preprocess_frames
from tests.extract.running import extract
from tests.extract.videos import (
    OPEN_GOP,
    constant_pts,
    naive_frames,
    variable_pts,
    write_video,
)

VIDEOS = {
    "constant": {"pts": constant_pts(75)},
    "variable": {"pts": variable_pts(60)},
    "open_gop": {"pts": constant_pts(90), "options": OPEN_GOP},
}


class ClipFake(FakeEncoder):
    """A network that looks at four frames at a time."""

    frames_per_window = 4

    def __init__(self, options):
        super().__init__(options)
        self.recipe = replace(self.recipe, id="clip_fake")

    def encode(self, pixels_BFCHW):
        rows = 0
        for number in range(4):
            rows = rows + super().encode(pixels_BFCHW[:, number : number + 1]) * (number + 1)
        return rows


@pytest.fixture(autouse=True)
def clip_fake(monkeypatch):
    monkeypatch.setitem(ENCODERS, "clip_fake", f"{__name__}:ClipFake")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for name, options in VIDEOS.items():
        write_video(root / f"{name}.mp4", **options)
    return root


def naive_rows(path, encoder, fps, length, stride):
    """Decode everything, pick by time, and encode every window alone."""
    frames = naive_frames(path, fps)
    rows = []
    for number in range(count_rows(len(frames), length, stride)):
        indices = [min(number * stride + i, len(frames) - 1) for i in range(length)]
        pixels = torch.cat(
            [
                preprocess_frames(torch.from_numpy(frames[i])[None], encoder.preprocess)
                for i in indices
            ]
        )
        rows.append(encoder.encode(pixels[None])[0])
    return torch.stack(rows).numpy()


@pytest.mark.parametrize(
    ("encoder", "fps", "length", "stride"),
    [
        ("fake", Fraction(2), 1, 1),
        ("fake", Fraction(30000, 1001), 1, 2),
        ("clip_fake", Fraction(10), 4, 3),
    ],
)
def test_rows_equal_a_naive_reference(folder, tmp_path, encoder, fps, length, stride):
    report, (target,) = extract(
        folder, tmp_path / "f.zarr", encoders=(encoder,), fps=fps, stride_frames=stride,
        store_dtype="float32", batch_size=4,
    )  # fmt: skip
    assert (report.num_done, report.failures) == (3, [])
    stream = open_store(tmp_path / "f.zarr").stream()
    for name in VIDEOS:
        expected = naive_rows(folder / f"{name}.mp4", target.encoder, fps, length, stride)
        got = stream.read(name)
        # Batches of another size sum in another order: a few float32 roundings, no more.
        np.testing.assert_allclose(got.values, expected, rtol=1e-5, atol=1e-5)
        assert got.times_R2[0, 0] == 0
        assert len(got.times_R2) == len(expected)


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_one_decode_fills_several_streams(folder, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"f.{suffix}"
    opened = []
    decode = DecoderProcess.decode
    monkeypatch.setattr(
        DecoderProcess,
        "decode",
        lambda self, *args, **more: opened.append(args) or decode(self, *args, **more),
    )
    report, _ = extract(folder, out, encoders=("fake", "clip_fake"))
    rows = {s.name: s.num_rows for s in open_store(out).streams.values()}
    assert rows["fake"] > rows["clip_fake"] > 0
    assert report.num_rows == sum(rows.values())
    assert len(opened) == report.num_done == 3


def test_another_recipe_of_one_encoder_gets_a_stream_of_its_own(folder, tmp_path):
    extract(folder, tmp_path / "f.zarr")
    extract(folder, tmp_path / "f.zarr", fps=Fraction(5))
    names = list(open_store(tmp_path / "f.zarr").streams)
    assert names[0] == "fake"
    assert names[1].startswith("fake-")


def test_a_video_that_fails_leaves_no_row_and_the_rest_is_there(folder, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in folder.iterdir():
        (videos / path.name).write_bytes(path.read_bytes())
    good = write_video(videos / "cut.mp4", constant_pts(150), options={"movflags": "faststart"})
    good.write_bytes(good.read_bytes()[:-3000])
    report, _ = extract(videos, tmp_path / "f.zarr", fps=Fraction(30), batch_size=4)
    assert [failure.video_id for failure in report.failures] == ["cut"]
    assert open_store(tmp_path / "f.zarr").stream().video_ids == sorted(VIDEOS)
    assert report.exit_code == 3


def test_rows_do_not_depend_on_the_videos_beside_them(folder, tmp_path):
    extract(folder, tmp_path / "all.zarr", store_dtype="float32")
    extract(folder / "variable.mp4", tmp_path / "one.zarr", store_dtype="float32")
    together = open_store(tmp_path / "all.zarr").stream().read("variable").values
    alone = open_store(tmp_path / "one.zarr").stream().read("variable").values
    assert np.array_equal(together, alone)


def test_a_feature_that_overflows_fails_its_video_and_names_the_remedy(
    folder, tmp_path, monkeypatch
):
    whole = FakeEncoder.encode
    monkeypatch.setattr(FakeEncoder, "encode", lambda self, pixels: whole(self, pixels) + 1e9)
    report, _ = extract(folder, tmp_path / "f.zarr")
    assert len(report.failures) == 3
    assert "infinite or NaN in float16" in report.failures[0].error
    assert open_store(tmp_path / "f.zarr").stream("fake").video_ids == []


class FullDisk:
    """A store whose disk is full."""

    def stream(self, name, recipe, row_shape):
        return self

    def append(self, values, *, are_finite=False):
        raise OSError(28, "No space left on device")

    def close(self):
        pass


def test_a_write_error_ends_the_run_and_its_threads(folder, tmp_path):
    before = threading.active_count()
    with pytest.raises(OSError, match="No space left"):
        extract(folder, tmp_path / "f.zarr", writer=FullDisk())
    assert threading.active_count() == before


def test_rows_are_looked_at_for_nan_once(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pending, "num_not_finite", lambda *_: pytest.fail("looked at again"))
    extract(folder, tmp_path / "f.zarr")
    assert len(open_store(tmp_path / "f.zarr").stream("fake").video_ids) == 3
