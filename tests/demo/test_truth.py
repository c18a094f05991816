"""The ground-truth object: splits, participants, clips, refused specs."""

from dataclasses import replace

import pytest

from demo.truth import SMALL_SPEC, DemoSpec, make_truth


def test_equal_specs_give_equal_labels_and_another_seed_gives_others() -> None:
    assert make_truth(SMALL_SPEC) == make_truth(SMALL_SPEC)
    assert make_truth(SMALL_SPEC).videos != make_truth(replace(SMALL_SPEC, seed=1)).videos


def test_the_default_set_has_24_train_and_8_val_videos_with_unique_ids() -> None:
    truth = make_truth(DemoSpec())
    assert len(truth.of_split("train")) == 24
    assert len(truth.of_split("val")) == 8
    assert len({video.video_id for video in truth.videos}) == 32
    assert all(video.video_id.startswith(video.participant_id) for video in truth.videos)


def test_the_unseen_participant_and_some_seen_ones_are_in_val() -> None:
    truth = make_truth(DemoSpec())
    train = {video.participant_id for video in truth.of_split("train")}
    val = {video.participant_id for video in truth.of_split("val")}
    assert train == {"P01", "P02", "P03", "P04", "P05", "P06"}
    assert val - train == {truth.unseen_participant_id} == {"P07"}


def test_every_class_occurs_in_the_default_train_videos() -> None:
    train = make_truth(DemoSpec()).of_split("train")
    assert len({segment.action for video in train for segment in video.segments}) == 36


def test_clips_tile_the_video_and_share_out_its_scenes() -> None:
    for video in make_truth(DemoSpec()).videos:
        clips = video.clips
        ends = [clip.end_frame for clip in clips]
        assert [clip.start_frame for clip in clips] == [0, *ends[:-1]]
        assert ends[-1] == video.frame_count
        assert len(clips) > 1
        assert tuple(scene for clip in clips for scene in clip.scenes) == video.scenes
        for clip in clips:
            assert all(scene.end_frame <= clip.end_frame for scene in clip.scenes)


@pytest.mark.parametrize(
    ("field", "value"), [("seed", -1), ("train_videos", 0), ("val_videos", 1), ("seconds", 3)]
)
def test_a_spec_with_an_empty_part_is_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}, expected at least {value + 1}"):
        DemoSpec(**{field: value})


def test_the_shortest_video_still_holds_an_action() -> None:
    truth = make_truth(DemoSpec(seconds=4, train_videos=100, val_videos=2))
    assert all(video.segments for video in truth.videos)
