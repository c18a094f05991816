import json
import struct

import numpy as np
import pytest

from benchmarks.doom_recordings import CLASSES, MEANT_TICS, Recording, labels_of, read_recordings
from benchmarks.fifty_salads import run, runs_of
from benchmarks.recorded_play import (
    STREAM,
    TICS_PER_SECOND,
    baselines,
    compare,
    write_labels,
)
from cache_schema.errors import SourceError

HELD = {
    "background": (0, 0, 0, 0),
    "shoot": (50, 0, 5, 1),
    "turn_left": (50, 0, 5, 0),
    "turn_right": (0, 40, -5, 0),
    "forward": (25, -20, 0, 2),
    "back": (-50, 0, 0, 0),
    "sidestep_left": (0, -40, 0, 0),
    "sidestep_right": (25, 40, 0, 0),
}
"""What is pressed: forward, sidewards, turn, buttons."""


def lump_of(inputs_of_players, *, version=109):
    """Return a recording of players 0 and 2, each with a list of four bytes for every tic."""
    header = bytes([version, 2, 1, 7, 0, 0, 0, 0, 0, 1, 0, 1, 0])
    tics = zip(*inputs_of_players, strict=True)
    body = b"".join(struct.pack("<bbbB", *player) for tic in tics for player in tic)
    return header + body + b"\x80"


def write_wad(path, lumps):
    """Write a WAD: its header, the lumps, and the directory that names them."""
    content, directory = b"", b""
    for name, lump in lumps.items():
        directory += struct.pack("<ii8s", 12 + len(content), len(lump), name.encode())
        content += lump
    head = struct.pack("<4sii", b"IWAD", len(lumps), 12 + len(content))
    path.write_bytes(head + content + directory)


def held(*names, tics=35):
    """Return the inputs of somebody who holds these keys, one set after the other."""
    return [HELD[name] for name in names for _ in range(tics)]


def test_recordings_of_a_wad_with_each_players_own_inputs(tmp_path):
    walks, shoots = held("forward"), held("shoot")
    lumps = {"MAP01": b"", "DEMO2": lump_of([shoots, walks]), "DEMO1": lump_of([walks, shoots])}
    write_wad(tmp_path / "game.wad", lumps)
    first, second = read_recordings(tmp_path / "game.wad")
    assert (first.name(0), second.name(2)) == ("game-demo1-p1", "game-demo2-p3")
    assert first.players == [0, 2]
    assert first.inputs_N4(2).tolist() == [list(tic) for tic in shoots]
    assert second.inputs_N4(2).tolist() == [list(tic) for tic in walks]


def test_only_the_viewpoint_differs_between_the_views_of_a_game():
    recording = Recording(game="g", number=1, lump=lump_of([held("back"), held("shoot")]))
    seen = recording.seen_by(2)
    differing = [place for place, byte in enumerate(recording.lump) if seen[place] != byte]
    assert (differing, seen[8]) == ([8], 2)


def test_what_is_no_wad_or_of_another_version_is_refused(tmp_path):
    (tmp_path / "no.wad").write_bytes(b"PK\x03\x04")
    with pytest.raises(SourceError, match="no WAD"):
        read_recordings(tmp_path / "no.wad")
    write_wad(tmp_path / "g.wad", {"DEMO1": lump_of([held("back")] * 2, version=203)})
    with pytest.raises(SourceError, match="version 203"):
        read_recordings(tmp_path / "g.wad")


@pytest.mark.parametrize("name", CLASSES)
def test_keys_held_for_half_a_second_are_the_label(name):
    assert CLASSES[labels_of(np.array(held(name)))[-1]] == name


def test_labels_look_back_half_a_second_and_at_no_later_tic():
    inputs = np.array(held("back") + [(-50, 0, 0, 1)] * 35)
    labels = labels_of(inputs)
    half = MEANT_TICS // 2 + 1
    assert CLASSES[labels[35 + half - 2]] == "back"
    assert CLASSES[labels[35 + half - 1]] == "shoot"
    assert labels_of(inputs[:40]).tolist() == labels[:40].tolist()


def test_a_pause_is_no_shot():
    paused = np.array([(0, 0, 0, 0x81)] * 20)
    assert CLASSES[labels_of(paused)[-1]] == "background"


@pytest.mark.long
def test_baselines_from_rows_alone_and_from_their_differences(tmp_path, capsys):
    """Of two keys, one shows in each row and one only in how rows change."""
    rng = np.random.default_rng(0)
    recordings = []
    (tmp_path / "npy").mkdir()
    for number in range(1, 5):
        names = rng.permutation(["back", "forward", "shoot"] * 4)
        lump = lump_of([held(*names)] * 2)
        recordings.append(Recording(game="g", number=number, lump=lump))
        labels = labels_of(recordings[-1].inputs_N4(0))[:: TICS_PER_SECOND // 5]
        steps = rng.normal(np.where(labels == CLASSES.index("forward"), 3.0, 0.0), 0.1)
        shown = (labels == CLASSES.index("shoot")).astype(float)
        rows = np.stack([rng.normal(shown, 0.1), np.cumsum(steps)], axis=1)
        for player in (0, 2):
            np.save(tmp_path / "npy" / f"{recordings[-1].name(player)}.npy", rows)
    write_labels(recordings, tmp_path)
    run("vllm-store", "import", str(tmp_path / "npy"), str(tmp_path / "feats.zarr"), "--stream",
        STREAM, "--dtype", "float32", "--fps", "5", "--window", "1", "--stride", "1")  # fmt: skip
    baselines.callback(tmp_path)
    right, of_views = {}, {}
    for name in ("majority", "logistic_rows", "logistic_rows_motion"):
        (pairs,) = runs_of(tmp_path, name)
        assert pairs.keys() == json.loads((tmp_path / "folds.json").read_text()).keys()
        hits = [pair.truth_F == pair.predicted_F for pair in pairs.values()]
        right[name] = np.concatenate(hits).mean()
        of_views[name] = np.mean([view.mean() for view in hits])
    assert right["majority"] < 0.45
    assert right["majority"] + 0.1 < right["logistic_rows"] < 0.75
    assert right["logistic_rows_motion"] > right["logistic_rows"] + 0.15
    capsys.readouterr()
    compare.callback(tmp_path, "logistic_rows", "majority")
    name, difference, *_ = capsys.readouterr().out.split()
    assert name == "Acc_video_mean"
    expected = 100 * (of_views["logistic_rows"] - of_views["majority"])
    assert float(difference) == pytest.approx(expected, abs=0.006)
