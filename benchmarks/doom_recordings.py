"""Recorded play: what a player's view looked like, and what the player did at every instant.

The WADs of Freedoom (BSD-3-Clause) hold recordings of people playing them, as Doom's own: lumps
``DEMO1`` to ``DEMO4``. Such a recording is no video but the keys and the mouse of every player, 35
times a second; the engine plays it again, exactly, and draws what was seen. So the labels are
measured and not somebody's judgement, and the video is made where it is needed.

Format (doomwiki.org/wiki/Demo, version 1.9): 13 bytes of header, of which byte 8 is the number of
the player whose view is drawn and the last four say which players take part; then for each tic and
player four bytes: forward, sidewards (right), turn (left), buttons; 0x80 at the end.

Shapes: N tics, 4 bytes of a player's tic.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import SourceError

__all__ = ["CLASSES", "TICS_PER_SECOND", "Recording", "labels_of", "read_recordings", "render"]

TICS_PER_SECOND = 35
HEADER_BYTES = 13
VIEWPOINT = 8
PLAYERS = slice(9, 13)
VERSIONS = range(104, 110)
END = 0x80

FULL_FORWARD = 50
FULL_SIDEWARDS = 40
TURN_DEGREES = 360 / 256
ATTACK = 1
SPECIAL = 0x80
"""The buttons are no buttons then, but a pause or a saved game."""

CLASSES = (
    "background",
    "shoot",
    "turn_left",
    "turn_right",
    "forward",
    "back",
    "sidestep_left",
    "sidestep_right",
)
"""Background: no key is held for long enough to count."""
MEANT_TICS = 17
"""A label tells of the half second that ends with it, so that nothing has to be foreseen."""
TURN_LEAST = 60.0
"""Degrees a second."""
MOVE_LEAST = 0.3
"""Of the speed of running, which is about half of walking."""

CAPTURE = """\
cap_soundcommand "cat"
cap_videocommand "ffmpeg -loglevel error -f rawvideo -pix_fmt rgb24 -r %r -s %wx%h -i - \
-vf scale=320:240 -c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -threads 1 -y video.mkv"
cap_muxcommand "cp video.mkv %f"
cap_tempfile1 "sound.raw"
cap_tempfile2 "video.mkv"
cap_fps 35
cap_wipescreen 0
uncapped_framerate 0
hudadd_demoprogressbar 0
"""
"""Of dsda-doom: a frame for each tic, no sound, and no bar that tells how far the recording is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """One game with all its players."""

    game: str
    """Stem of its WAD's name."""
    number: int
    """From 1, in its WAD."""
    lump: bytes

    @property
    def players(self) -> list[int]:
        """Numbers of those who take part, from 0."""
        return [number for number, plays in enumerate(self.lump[PLAYERS]) if plays]

    def name(self, player: int) -> str:
        """Return the id of the video of what a player saw."""
        return f"{self.game}-demo{self.number}-p{player + 1}"

    def inputs_N4(self, player: int) -> NDArray[np.int64]:
        """Return a player's forward and sidewards speed, turn and buttons at every tic."""
        body = self.lump[HEADER_BYTES : self.lump.rindex(END)]
        tics = np.frombuffer(body, np.int8).reshape(-1, len(self.players), 4)
        inputs_N4 = tics[:, self.players.index(player)].astype(np.int64)
        inputs_N4[:, 3] &= 0xFF
        return inputs_N4

    def seen_by(self, player: int) -> bytes:
        """Return the lump that is drawn as this player saw it."""
        return self.lump[:VIEWPOINT] + bytes([player]) + self.lump[VIEWPOINT + 1 :]


def read_recordings(wad: Path) -> list[Recording]:
    """Return the recordings in a WAD, in the order of their numbers.

    Raises:
        SourceError: It is no WAD, or holds a recording of another version of the format.
    """
    content = wad.read_bytes()
    if content[:4] not in (b"IWAD", b"PWAD"):
        raise SourceError(f"{wad} is no WAD; give the WADs of Debian's freedoom and freedm")
    count, directory = struct.unpack_from("<ii", content, 4)
    found = []
    for place in range(count):
        start, size, name = struct.unpack_from("<ii8s", content, directory + 16 * place)
        number = re.fullmatch(r"DEMO(\d)", name.rstrip(b"\0").decode("ascii", "replace"))
        if number:
            lump = content[start : start + size]
            if lump[0] not in VERSIONS:
                raise SourceError(f"{wad}: {number[0]} is of version {lump[0]}, not of Doom 1.9")
            found.append(Recording(game=wad.stem, number=int(number[1]), lump=lump))
    return sorted(found, key=lambda one: one.number)


def labels_of(inputs_N4: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of a class for every tic, from the inputs up to it.

    Shooting goes before turning, turning before moving: the view shows it most.
    """
    forward_N, right_N, left_turn_N, buttons_N = inputs_N4.T
    shoots_N = (buttons_N & ATTACK > 0) & (buttons_N & SPECIAL == 0)
    turn_N = _recent_mean(left_turn_N * TURN_DEGREES * TICS_PER_SECOND)
    ahead_N = _recent_mean(forward_N / FULL_FORWARD)
    beside_N = _recent_mean(right_N / FULL_SIDEWARDS)
    sidesteps_N = np.abs(beside_N) > np.abs(ahead_N)
    conditions = {
        "shoot": _recent_mean(shoots_N) >= 0.5,
        "turn_left": turn_N > TURN_LEAST,
        "turn_right": turn_N < -TURN_LEAST,
        "sidestep_left": sidesteps_N & (beside_N < -MOVE_LEAST),
        "sidestep_right": sidesteps_N & (beside_N > MOVE_LEAST),
        "forward": ahead_N > MOVE_LEAST,
        "back": ahead_N < -MOVE_LEAST,
    }
    numbers = [CLASSES.index(name) for name in conditions]
    return np.select(list(conditions.values()), numbers, default=0)


def _recent_mean(values_N: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the mean of each value and those before it; there was nothing before the first."""
    sums = np.concatenate([np.zeros(MEANT_TICS), np.cumsum(values_N.astype(np.float64))])
    return (sums[MEANT_TICS:] - sums[:-MEANT_TICS]) / MEANT_TICS


def render(recording: Recording, player: int, wad: Path, target: Path) -> None:
    """Write the video of what a player saw, 35 frames a second, one for each tic.

    Raises:
        SourceError: The engine is not there, or made nothing.
    """
    engine = shutil.which("dsda-doom", path=f"{os.environ.get('PATH', '')}:/usr/games")
    if engine is None or shutil.which("ffmpeg") is None:
        raise SourceError("no dsda-doom or no ffmpeg; install Debian's packages of these names")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "capture.cfg").write_text(CAPTURE)
        (folder / "game.lmp").write_bytes(recording.seen_by(player))
        headless = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "HOME": name}
        subprocess.run(
            [engine, "-config", "capture.cfg", "-iwad", wad.resolve(), "-nosound",
             "-viddump", "seen.mkv", "-timedemo", "game.lmp"],
            cwd=folder, env=os.environ | headless, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        if not (folder / "seen.mkv").exists():
            raise SourceError(f"dsda-doom made no video of {recording.name(player)}")
        shutil.move(folder / "seen.mkv", target)
