"""Write Ego4D files about single actions: online captioning and long-term anticipation.

Data in: `DemoTruth`. Data out: narration.json and our splits.json; fho_lta_{train,val}.json and
fho_lta_taxonomy.json.
"""

from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from demo.ego4d_header import SPLITS, header
from demo.grammar import FRAMES_PER_SECOND, Segment
from demo.text_file import write_json
from demo.truth import DemoTruth, VideoTruth
from demo.vocabulary import NOUN_ID, NOUNS, VERB_ID, VERB_OF_KEY, VERBS


def write_narrations(folder: Path, truth: DemoTruth) -> None:
    """Write one narration pass per video, and which video belongs to which split."""
    narrations = {video.video_id: _narrated(video) for video in truth.videos}
    write_json(folder / "narration.json", narrations)
    write_json(
        folder / "splits.json",
        {split: [video.video_id for video in truth.of_split(split)] for split in SPLITS},
    )


def write_long_term_anticipation(folder: Path, truth: DemoTruth) -> None:
    """Write every action in order, one clip per video, and the names of verbs and nouns."""
    taxonomy = {"verbs": [verb.key for verb in VERBS], "nouns": [noun.key for noun in NOUNS]}
    write_json(folder / "fho_lta_taxonomy.json", taxonomy)
    for split in SPLITS:
        videos = enumerate(truth.of_split(split))
        clips = [entry for clip_id, video in videos for entry in _lta_entries(clip_id, video)]
        document = {**header("long-term anticipation"), "split": split, "clips": clips}
        write_json(folder / f"fho_lta_{split}.json", document)


def narration_frame(segment: Segment) -> int:
    """Return when an action is narrated: after two thirds of it, when a viewer can name it."""
    return segment.start_frame + (segment.end_frame - segment.start_frame) * 2 // 3


def narration_text(segment: Segment) -> str:
    """Return a sentence in Ego4D's manner; "#C C" is the camera wearer."""
    phrase = VERB_OF_KEY[segment.action.verb].third_person.format(segment.action.noun)
    return f"#C C {phrase}"


def _narrated(video: VideoTruth) -> dict[str, object]:
    annotation_uid = str(uuid5(NAMESPACE_URL, f"narration/{video.video_id}"))
    narrations = [
        {
            "timestamp_sec": narration_frame(segment) / FRAMES_PER_SECOND,
            "timestamp_frame": narration_frame(segment),
            "narration_text": narration_text(segment),
            "annotation_uid": annotation_uid,
        }
        for segment in video.segments
    ]
    return {
        "narration_pass_1": {"narrations": narrations, "summaries": []},
        "narration_pass_2": {"narrations": [], "summaries": []},
        "status": "complete",
    }


def _lta_entries(clip_id: int, video: VideoTruth) -> list[dict[str, object]]:
    # The clip begins with the first action: clip time and video time must differ to be tested.
    clip_start = video.segments[0].start_frame
    clip = {
        "video_uid": video.video_id,
        "clip_uid": f"{video.video_id}_lta",
        "clip_id": clip_id,
        "clip_parent_start_sec": clip_start / FRAMES_PER_SECOND,
        "clip_parent_end_sec": video.duration_seconds,
        "clip_parent_start_frame": clip_start,
        "clip_parent_end_frame": video.frame_count,
    }
    return [
        {**clip, "action_idx": index, **_lta_action(segment, clip_start)}
        for index, segment in enumerate(video.segments)
    ]


def _lta_action(segment: Segment, clip_start: int) -> dict[str, object]:
    return {
        "interval_start_sec": segment.start_seconds,
        "interval_end_sec": segment.end_seconds,
        "interval_start_frame": segment.start_frame,
        "interval_end_frame": segment.end_frame,
        "action_clip_start_sec": (segment.start_frame - clip_start) / FRAMES_PER_SECOND,
        "action_clip_end_sec": (segment.end_frame - clip_start) / FRAMES_PER_SECOND,
        "action_clip_start_frame": segment.start_frame - clip_start,
        "action_clip_end_frame": segment.end_frame - clip_start,
        "verb": segment.action.verb,
        "noun": segment.action.noun,
        "verb_label": VERB_ID[segment.action.verb],
        "noun_label": NOUN_ID[segment.action.noun],
    }
