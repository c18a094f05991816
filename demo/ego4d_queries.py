"""Write Ego4D files about stretches of a clip: moment queries and natural-language queries.

Data in: `DemoTruth`. Data out: moments_{train,val}.json and nlq_{train,val}.json. Their clips tile
each video.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from demo.ego4d_header import SPLITS, header
from demo.grammar import FRAMES_PER_SECOND, Segment
from demo.text_file import write_json
from demo.truth import Clip, DemoTruth, Scene, VideoTruth
from demo.vocabulary import VERB_OF_KEY


def write_moment_queries(folder: Path, truth: DemoTruth) -> None:
    """Write the scenes of every clip as primary labels and its actions as other labels."""
    _write_per_split(folder, truth, "moments", _clip_with_moments)


def write_natural_language_queries(folder: Path, truth: DemoTruth) -> None:
    """Write questions that each have one answer in their clip."""
    _write_per_split(folder, truth, "nlq", _clip_with_queries)


def moment_label(noun: str) -> str:
    """Return the moment class of a scene."""
    return f"look_at_the_{noun}"


def _write_per_split(
    folder: Path,
    truth: DemoTruth,
    name: str,
    describe: Callable[[Clip], dict[str, object]],
) -> None:
    for split in SPLITS:
        videos = [_video_entry(video, describe) for video in truth.of_split(split)]
        document = {**header(name), "manifest": "none", "videos": videos}
        write_json(folder / f"{name}_{split}.json", document)


def _video_entry(
    video: VideoTruth, describe: Callable[[Clip], dict[str, object]]
) -> dict[str, object]:
    clips = [
        {**_clip_fields(clip), "source_clip_uid": clip.clip_uid, **describe(clip)}
        for clip in video.clips
    ]
    return {"video_uid": video.video_id, "split": video.split, "clips": clips}


def _clip_fields(clip: Clip) -> dict[str, object]:
    length = clip.end_frame - clip.start_frame
    return {
        "clip_uid": clip.clip_uid,
        "video_start_sec": clip.start_frame / FRAMES_PER_SECOND,
        "video_end_sec": clip.end_frame / FRAMES_PER_SECOND,
        "video_start_frame": clip.start_frame,
        "video_end_frame": clip.end_frame,
        "clip_start_sec": 0,
        "clip_end_sec": length / FRAMES_PER_SECOND,
        "clip_start_frame": 0,
        "clip_end_frame": length,
    }


def _clip_with_moments(clip: Clip) -> dict[str, object]:
    labels = [_moment(clip, scene, moment_label(scene.noun), primary=True) for scene in clip.scenes]
    labels += [
        _moment(clip, segment, segment.action.name, primary=False)
        for scene in clip.scenes
        for segment in scene.segments
    ]
    annotator_uid = str(uuid5(NAMESPACE_URL, f"moments/{clip.clip_uid}"))
    return {"annotations": [{"annotator_uid": annotator_uid, "labels": labels}]}


def _moment(clip: Clip, part: Scene | Segment, label: str, *, primary: bool) -> dict[str, object]:
    return {
        "label": label,
        "primary": primary,
        "start_time": (part.start_frame - clip.start_frame) / FRAMES_PER_SECOND,
        "end_time": (part.end_frame - clip.start_frame) / FRAMES_PER_SECOND,
        "video_start_time": part.start_frame / FRAMES_PER_SECOND,
        "video_end_time": part.end_frame / FRAMES_PER_SECOND,
        "video_start_frame": part.start_frame,
        "video_end_frame": part.end_frame,
    }


def _clip_with_queries(clip: Clip) -> dict[str, object]:
    queries = [*_scene_queries(clip), *_action_queries(clip)]
    annotation_uid = str(uuid5(NAMESPACE_URL, f"nlq/{clip.clip_uid}"))
    annotation = {"annotation_uid": annotation_uid, "language_queries": queries}
    return {"annotations": [annotation]}


def _scene_queries(clip: Clip) -> list[dict[str, object]]:
    times = Counter(scene.noun for scene in clip.scenes)
    return [
        _query(
            clip,
            scene,
            text=f"where did i see the {scene.noun}?",
            template="Objects: Where did I see object X?",
            slots=(scene.noun, "[verb_not_applicable]"),
        )
        for scene in clip.scenes
        if times[scene.noun] == 1
    ]


def _action_queries(clip: Clip) -> list[dict[str, object]]:
    segments = [segment for scene in clip.scenes for segment in scene.segments]
    times = Counter(segment.action for segment in segments)
    return [
        _query(
            clip,
            segment,
            text=f"when did i {_imperative(segment)}?",
            template="Objects: When did I do Y to object X?",
            slots=(segment.action.noun, segment.action.verb),
        )
        for segment in segments
        if times[segment.action] == 1
    ]


def _imperative(segment: Segment) -> str:
    return VERB_OF_KEY[segment.action.verb].imperative.format(segment.action.noun)


def _query(
    clip: Clip, answer: Scene | Segment, *, text: str, template: str, slots: tuple[str, str]
) -> dict[str, object]:
    noun, verb = slots
    return {
        "query": text,
        "clip_start_sec": (answer.start_frame - clip.start_frame) / FRAMES_PER_SECOND,
        "clip_end_sec": (answer.end_frame - clip.start_frame) / FRAMES_PER_SECOND,
        "video_start_sec": answer.start_frame / FRAMES_PER_SECOND,
        "video_end_sec": answer.end_frame / FRAMES_PER_SECOND,
        "video_start_frame": answer.start_frame,
        "video_end_frame": answer.end_frame,
        "template": template,
        "slot_x": noun,
        "verb_x": verb,
        "raw_tags": [template, text, noun, verb],
    }
