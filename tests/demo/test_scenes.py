"""The pixels: every verb does what its name says, gaps show bare background."""

import numpy as np
import numpy.typing as npt
import pytest

from demo.grammar import Segment
from demo.scenes import POSE_OF_VERB, Canvas, noun_picture, render_frames
from demo.truth import DemoSpec, VideoTruth
from demo.vocabulary import NOUNS, VERBS, Action

Frames = npt.NDArray[np.uint8]
SPEC = DemoSpec(width=96, height=72)


def rendered(verb: str) -> Frames:
    """Return 15 frames of background, 30 of one action and 15 of background."""
    segment = Segment(start_frame=15, end_frame=45, action=Action("astronaut", verb))
    video = VideoTruth(
        video_id="P01_01", participant_id="P01", split="train", frame_count=60, segments=(segment,)
    )
    return np.stack(list(render_frames(video, SPEC)))


def silhouette(verb: str, progress: float, seconds: float) -> npt.NDArray[np.bool_]:
    """Return where a white picture lies in a black frame."""
    black, white = np.zeros((72, 96, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)
    pose = POSE_OF_VERB[verb](progress, seconds)
    mask: npt.NDArray[np.bool_] = Canvas(72, 96).paste(black, white, pose)[..., 0] > 0
    return mask


def centre_column(verb: str, progress: float) -> float:
    return float(np.nonzero(silhouette(verb, progress, 0.0))[1].mean())


def test_every_verb_has_a_pose() -> None:
    assert set(POSE_OF_VERB) == {verb.key for verb in VERBS}


@pytest.mark.parametrize("noun", [noun.key for noun in NOUNS])
def test_every_photograph_loads_and_is_no_plain_colour(noun: str) -> None:
    picture = noun_picture(noun)
    assert picture.shape == (144, 144, 3)
    assert picture.std() > 5


def test_fades_change_the_mean_brightness_step_by_step() -> None:
    rising = rendered("fade-in")[15:45].mean(axis=(1, 2, 3))
    falling = rendered("fade-out")[15:45].mean(axis=(1, 2, 3))
    assert (np.diff(rising) > 0).all()
    assert (np.diff(falling) < 0).all()
    assert falling[-1] < 0.2 * falling[0]


def test_hold_keeps_the_brightness() -> None:
    brightness = rendered("hold")[15:45].mean(axis=(1, 2, 3))
    assert brightness.max() < 1.1 * brightness.min()


def test_flash_brightens_and_dims_again() -> None:
    brightness = rendered("flash")[15:45].mean(axis=(1, 2, 3))
    assert brightness.max() > 1.3 * brightness[0]
    assert (np.diff(brightness) > 0).any()
    assert (np.diff(brightness) < 0).any()


def test_zooms_change_the_covered_area() -> None:
    first, last = silhouette("zoom-in", 0.0, 0.0).sum(), silhouette("zoom-in", 0.95, 1.0).sum()
    assert last > 3 * first
    assert silhouette("zoom-out", 0.95, 1.0).sum() < silhouette("zoom-out", 0.0, 0.0).sum() / 3


def test_slides_move_the_picture_sideways() -> None:
    assert centre_column("slide-left", 0.8) < centre_column("slide-left", 0.2) - 20
    assert centre_column("slide-right", 0.8) > centre_column("slide-right", 0.2) + 20


def test_rotate_turns_an_upright_square_onto_its_corner() -> None:
    upright, turned = silhouette("rotate", 0.0, 0.0), silhouette("rotate", 0.25 / 0.9, 0.5)
    assert turned.any(axis=0).sum() > 1.2 * upright.any(axis=0).sum()
    assert turned.sum() < 1.05 * upright.sum()


def test_shake_moves_the_picture_to_and_fro() -> None:
    columns = [np.nonzero(silhouette("shake", 0.0, k / 15))[1].mean() for k in range(15)]
    turns = np.diff(np.sign(np.diff(columns))) != 0
    assert turns.sum() >= 5


def test_frames_outside_actions_show_only_the_background() -> None:
    quiet, moving = rendered("hold"), rendered("rotate")
    np.testing.assert_array_equal(quiet[:15], moving[:15])
    np.testing.assert_array_equal(quiet[45:], moving[45:])
    assert (quiet[20:45] != moving[20:45]).any(axis=(1, 2, 3)).all()
    assert not np.array_equal(quiet[0], quiet[50])  # the background drifts
