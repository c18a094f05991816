"""One folder with everything that can be wrong: each file gets its sentence, the rest is there."""

import json
import os
from fractions import Fraction

import pytest

from cache_schema.errors import VideoError
from cache_schema.store import open_store
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames
from extract.decode.process import DecoderProcess
from tests.extract.running import extract
from tests.extract.videos import (
    constant_pts,
    cut,
    rename_codec,
    rewrite_timestamps,
    rot,
    variable_pts,
    write_audio,
    write_gif,
    write_still,
    write_video,
)

FASTSTART = {"movflags": "faststart"}
NO_B_FRAMES = {"bf": "0"}
BAD_PACKETS = range(30, 40)

SENTENCES = {
    "audio": "holds no video stream. Move it out of the folder.",
    "backwards": "timestamps do not increase: frame 21 at 0.667 s follows 0.700 s",
    "channels": "gives frames of shape (4, 6, 4) and type uint8",
    "codec": "has no decoder for its codec",
    "damaged": "is damaged: the frame at 1.00 s does not decode cleanly",
    "equal": "timestamps do not increase: frame 1 at 0.000 s follows 0.000 s",
    "exhausts": "needs more memory than there is",
    "gap": "timestamps are broken: from 0.033 s they jump to 7200 s",
    "killed": "was killed (SIGKILL), most likely because memory ran out",
    "no_index": "It is no video, or its index was cut off",
    "rate": "impossible frame rate: 30 frames within 0.024167 s",
    "segfaults": "crashed (SIGSEGV)",
    "sleeps": "gave nothing for 5 s and was stopped",
    "still": "is a still image, no video",
    "still_gif": "is a still image, no video",
    "text": "It is no video, or its index was cut off",
    "truncated": "is truncated: frames end at",
    "zero": "is empty (0 bytes)",
}


def write_bad_videos(folder):
    folder.mkdir()
    plain = write_video(folder / "plain.mp4", constant_pts(60), options=NO_B_FRAMES)
    write_audio(folder / "audio.mp4")
    write_still(folder / "still.mp4")
    write_gif(folder / "still_gif.gif", 1)
    backwards = constant_pts(60)
    backwards[20], backwards[21] = backwards[21], backwards[20]
    rewrite_timestamps(plain, folder / "equal.mp4", [60] * 60)
    rewrite_timestamps(plain, folder / "backwards.mp4", backwards)
    rename_codec(write_video(folder / "codec.mp4", constant_pts(9)), b"avc1", b"zzzz")
    rot(write_video(folder / "damaged.mp4", constant_pts(60), options=NO_B_FRAMES), BAD_PACKETS)
    write_video(folder / "gap.mp4", [0, 40, 7200 * 1200])
    write_video(folder / "rate.mp4", range(30))
    cut(write_video(folder / "no_index.mp4", constant_pts(60)), 0.5)
    cut(write_video(folder / "truncated.mp4", constant_pts(150), container_options=FASTSTART), 0.6)
    (folder / "zero.mp4").touch()
    (folder / "text.mp4").write_text("no video\n" * 200)
    for fate in ("sleeps", "segfaults", "killed", "exhausts", "channels"):
        (folder / f"{fate}.mp4").write_bytes(plain.read_bytes() + fate.encode())
    return folder


GOOD = ("animated", "plain", "variable")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    folder = write_bad_videos(root / "videos")
    write_gif(folder / "animated.gif", 15)
    write_video(folder / "variable.mkv", variable_pts(30))
    (folder / "notes.txt").write_text("not looked at")
    defaults = DecoderProcess.__init__.__kwdefaults__
    usual = dict(defaults)
    defaults |= {"opener": "tests.extract.decode.bad_decoders:open_bad", "hang_seconds": 5.0}
    try:
        report, _ = extract(folder, root / "feats.zarr")
    finally:
        defaults |= usual
    return report, open_store(root / "feats.zarr").stream()


def test_each_bad_file_is_in_the_ledger_with_its_sentence(run):
    report, _ = run
    errors = {failure.video_id: failure.error for failure in report.failures}
    assert sorted(errors) == sorted(SENTENCES)
    assert {name: SENTENCES[name] in error for name, error in errors.items()} == dict.fromkeys(
        SENTENCES, True
    ), json.dumps(errors, indent=1)


def test_the_other_videos_are_extracted_and_the_exit_code_tells(run):
    report, stream = run
    assert report.exit_code == 3
    assert stream.video_ids == sorted(GOOD)
    assert stream.commit("animated").num_rows == 3  # 1.5 seconds, 2 rows a second


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize(
    ("codec", "name"), [("libx264", "v.mp4"), ("libx264", "v.mkv"), ("mpeg4", "v.mp4")]
)
def test_damage_is_found_by_both_decoders(tmp_path, backend, codec, name):
    path = write_video(tmp_path / name, constant_pts(60), codec=codec, options=NO_B_FRAMES)
    assert list(sample_frames(open_video(path, backend), Fraction(2), []))
    rot(path, BAD_PACKETS)
    with pytest.raises(VideoError, match="is damaged: the frame at"):
        list(sample_frames(open_video(path, backend), Fraction(2), []))


@pytest.mark.parametrize("share", [0.6, 0.9, 0.97])
@pytest.mark.parametrize("fps", [Fraction(2), None])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_file_that_is_cut_off_fails_with_both_decoders(tmp_path, backend, fps, share):
    path = write_video(tmp_path / "v.mp4", constant_pts(150), container_options=FASTSTART)
    cut(path, share)
    with pytest.raises(VideoError, match="is truncated: frames end at"):
        list(sample_frames(open_video(path, backend), fps, []))


def test_what_cannot_be_read_fails_and_the_rest_is_there(tmp_path):
    folder = tmp_path / "videos"
    write_video(folder / "good.mp4", constant_pts(15))
    (folder / "link.mp4").symlink_to(folder / "gone.mp4")
    (folder / "circle.mp4").symlink_to(folder / "circle.mp4")
    os.mkfifo(folder / "pipe.mp4")
    name = os.fsencode(folder) + b"/latin-\xe9.mp4"
    with open(name, "wb") as file:  # noqa: PTH123 - pathlib takes no bytes
        file.write(b"x")
    report, _ = extract(folder, tmp_path / "f.zarr")
    errors = {failure.video_id: failure.error for failure in report.failures}
    assert errors["link"] == "cannot be read: No such file or directory."
    assert errors["circle"] == "cannot be read: Too many levels of symbolic links."
    assert errors["pipe"] == "is no regular file. Move it out of the folder."
    assert errors["latin-\\udce9"] == "its name is not valid UTF-8. Rename the file."
    assert (len(errors), report.num_done, report.exit_code) == (4, 1, 3)
