"""The official files: columns and fields are there, and all formats tell the same story.

The story is read from the frame labels of the action-segmentation files, the plainest format.
"""

import csv
import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.annotations import write_annotations
from demo.epic import tail_classes
from demo.truth import DemoSpec, make_truth

Run = tuple[int, int, str]


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the files of six videos of 30 s, long enough for several clips each; no pixels."""
    folder = tmp_path_factory.mktemp("annotations")
    write_annotations(folder, make_truth(DemoSpec(train_videos=4, val_videos=2, seconds=30)))
    return folder


def frame_labels(annotations: Path) -> dict[str, list[str]]:
    files = (annotations / "action_segmentation/groundTruth").glob("*.txt")
    return {path.stem: path.read_text().splitlines() for path in files}


def runs(labels: list[str]) -> list[Run]:
    """Return (first frame, frame behind the last, action) of every run that is not background."""
    result, start = [], 0
    for label, group in groupby(labels):
        end = start + len(list(group))
        result.append((start, end, label))
        start = end
    return [run for run in result if run[2] != "SIL"]


@pytest.fixture
def story(annotations: Path) -> dict[str, list[Run]]:
    return {video: runs(labels) for video, labels in frame_labels(annotations).items()}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_json(annotations: Path, name: str) -> Any:
    return json.loads((annotations / name).read_text())


def frame(seconds: float) -> int:
    exact = seconds * 15
    assert exact == pytest.approx(round(exact), abs=1e-9)
    return round(exact)


def seconds_of(timestamp: str) -> float:
    hours, minutes, seconds = timestamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_frame_labels_cover_every_frame_and_are_all_mapped(annotations: Path) -> None:
    folder = annotations / "action_segmentation"
    mapping = [line.split(" ") for line in (folder / "mapping.txt").read_text().splitlines()]
    assert mapping[0] == ["0", "SIL"]
    assert [int(index) for index, _ in mapping] == list(range(37))
    names = {name for _, name in mapping}
    for labels in frame_labels(annotations).values():
        assert len(labels) == 30 * 15
        assert set(labels) <= names


def test_splits_list_every_video_once(annotations: Path) -> None:
    folder = annotations / "action_segmentation/splits"
    train = (folder / "train.split1.bundle").read_text().splitlines()
    test = (folder / "test.split1.bundle").read_text().splitlines()
    assert train == ["P01_01.txt", "P01_02.txt", "P01_03.txt", "P01_04.txt"]
    assert test == ["P01_05.txt", "P02_01.txt"]
    own = read_json(annotations, "online_captioning/splits.json")
    assert own == {"train": [name[:-4] for name in train], "val": [name[:-4] for name in test]}


@pytest.mark.parametrize("task", ["online_action_detection", "action_anticipation"])
def test_epic_segments_tell_the_same_story(
    annotations: Path, story: dict[str, list[Run]], task: str
) -> None:
    folder = annotations / task
    names = ("EPIC_100_train.csv", "EPIC_100_validation.csv")
    rows = [row for name in names for row in read_csv(folder / name)]
    told: dict[str, list[Run]] = {}
    for row in rows:
        start, end = seconds_of(row["start_timestamp"]), seconds_of(row["stop_timestamp"])
        assert (frame(start), frame(end)) == (int(row["start_frame"]), int(row["stop_frame"]))
        action = f"{row['verb']}_{row['noun']}"
        told.setdefault(row["video_id"], []).append((frame(start), frame(end), action))
    assert told == story


def test_epic_files_have_the_official_columns(annotations: Path) -> None:
    folder = annotations / "online_action_detection"
    header = (
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
        "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    )
    expected = {
        "EPIC_100_train.csv": header,
        "EPIC_100_validation.csv": header,
        "EPIC_100_verb_classes.csv": "id,key,instances,category",
        "EPIC_100_noun_classes.csv": "id,key,instances,category",
        "EPIC_100_tail_verbs.csv": "verb",
        "EPIC_100_tail_nouns.csv": "noun",
        "EPIC_100_unseen_participant_ids_validation.csv": "participant_id",
        "classes.csv": "id,verb_class,noun_class",
        "video_lengths.csv": "video_id,num_frames",
    }
    found = {path.name: path.read_text().splitlines()[0] for path in folder.iterdir()}
    assert found == expected


def test_epic_class_ids_name_the_classes_of_the_segments(annotations: Path) -> None:
    folder = annotations / "action_anticipation"
    verbs = {row["id"]: row["key"] for row in read_csv(folder / "EPIC_100_verb_classes.csv")}
    nouns = {row["id"]: row["key"] for row in read_csv(folder / "EPIC_100_noun_classes.csv")}
    pairs = {(row["verb_class"], row["noun_class"]) for row in read_csv(folder / "classes.csv")}
    assert (len(verbs), len(nouns), len(pairs)) == (10, 12, 36)
    for row in read_csv(folder / "EPIC_100_validation.csv"):
        assert verbs[row["verb_class"]] == row["verb"]
        assert nouns[row["noun_class"]] == row["noun"]
        assert (row["verb_class"], row["noun_class"]) in pairs


def test_epic_lengths_and_unseen_participant(annotations: Path) -> None:
    folder = annotations / "online_action_detection"
    lengths = {row["num_frames"] for row in read_csv(folder / "video_lengths.csv")}
    assert lengths == {"120"}  # 30 s at 4 frames per second
    unseen = read_csv(folder / "EPIC_100_unseen_participant_ids_validation.csv")
    assert unseen == [{"participant_id": "P02"}]


def test_tail_classes_hold_at_most_a_fifth_of_the_instances() -> None:
    # 20 instances, so a fifth is 4: class 3 (0) + class 1 (1) + class 2 (3) = 4; class 0 has 16.
    assert tail_classes(Counter({0: 16, 1: 1, 2: 3}), 4) == [1, 2, 3]
    assert tail_classes(Counter({0: 15, 1: 2, 2: 3}), 3) == [1]


def test_long_term_anticipation_tells_the_same_story(
    annotations: Path, story: dict[str, list[Run]]
) -> None:
    taxonomy = read_json(annotations, "long_term_anticipation/fho_lta_taxonomy.json")
    told: dict[str, list[Run]] = {}
    for split in ("train", "val"):
        document = read_json(annotations, f"long_term_anticipation/fho_lta_{split}.json")
        assert document["split"] == split
        for entry in document["clips"]:
            verb = taxonomy["verbs"][entry["verb_label"]]
            noun = taxonomy["nouns"][entry["noun_label"]]
            offset = entry["clip_parent_start_sec"]
            start = frame(offset + entry["action_clip_start_sec"])
            end = frame(offset + entry["action_clip_end_sec"])
            sequence = told.setdefault(entry["video_uid"], [])
            assert entry["action_idx"] == len(sequence)
            sequence.append((start, end, f"{verb}_{noun}"))
    assert told == story


def clips_of(document: Any) -> list[tuple[str, Any]]:
    return [(video["video_uid"], clip) for video in document["videos"] for clip in video["clips"]]


def test_every_video_is_cut_into_several_clips(annotations: Path) -> None:
    for name in ("moment_query/moments_val.json", "natural_language_query/nlq_val.json"):
        clips = Counter(video for video, _ in clips_of(read_json(annotations, name)))
        assert set(clips) == {"P01_05", "P02_01"}
        assert min(clips.values()) >= 2


def test_moments_tell_the_same_story(annotations: Path, story: dict[str, list[Run]]) -> None:
    actions: dict[str, list[Run]] = {}
    for split in ("train", "val"):
        document = read_json(annotations, f"moment_query/moments_{split}.json")
        for video, clip in clips_of(document):
            for label in clip["annotations"][0]["labels"]:
                start = frame(clip["video_start_sec"] + label["start_time"])
                end = frame(clip["video_start_sec"] + label["end_time"])
                assert (start, end) == (label["video_start_frame"], label["video_end_frame"])
                if not label["primary"]:
                    actions.setdefault(video, []).append((start, end, label["label"]))
    assert actions == story


def test_primary_moments_are_the_runs_of_one_noun(
    annotations: Path, story: dict[str, list[Run]]
) -> None:
    found: dict[str, list[Run]] = {}
    for video, clip in clips_of(read_json(annotations, "moment_query/moments_train.json")):
        for label in clip["annotations"][0]["labels"]:
            if label["primary"]:
                bounds = label["video_start_frame"], label["video_end_frame"]
                found.setdefault(video, []).append((*bounds, label["label"]))
    for video, moments in found.items():
        groups = groupby(story[video], lambda run: run[2].split("_")[1])
        scenes = [(f"look_at_the_{noun}", list(group)) for noun, group in groups]
        assert moments == [(runs[0][0], runs[-1][1], label) for label, runs in scenes]


def test_questions_have_one_answer_and_it_is_the_right_one(
    annotations: Path, story: dict[str, list[Run]]
) -> None:
    questions = 0
    for split in ("train", "val"):
        document = read_json(annotations, f"natural_language_query/nlq_{split}.json")
        for video, clip in clips_of(document):
            for query in clip["annotations"][0]["language_queries"]:
                noun, verb = query["slot_x"], query["verb_x"]
                asked = [
                    run
                    for run in story[video]
                    if clip["video_start_frame"] <= run[0] < clip["video_end_frame"]
                    and run[2].endswith(f"_{noun}")
                    and (verb[0] == "[" or run[2] == f"{verb}_{noun}")
                ]
                start = frame(clip["video_start_sec"] + query["clip_start_sec"])
                assert (start, query["video_end_frame"]) == (asked[0][0], asked[-1][1])
                assert verb[0] == "[" or len(asked) == 1
                assert query["query"].endswith("?")
                assert noun in query["query"]
                questions += 1
    assert questions > 60


def test_narrations_fall_into_their_actions(annotations: Path, story: dict[str, list[Run]]) -> None:
    narrations = read_json(annotations, "online_captioning/narration.json")
    assert set(narrations) == set(story)
    for video, expected in story.items():
        told = narrations[video]["narration_pass_1"]["narrations"]
        for (start, end, action), narration in zip(expected, told, strict=True):
            assert start < narration["timestamp_frame"] < end
            assert frame(narration["timestamp_sec"]) == narration["timestamp_frame"]
            verb, noun = action.split("_")
            text = narration["narration_text"]
            assert text.startswith(f"#C C {verb.split('-')[0]}")
            assert f" the {noun}" in text


def highlight_rows(annotations: Path) -> list[Any]:
    folder = annotations / "highlight_detection"
    names = ("highlight_train.jsonl", "highlight_val.jsonl")
    lines = [line for name in names for line in (folder / name).read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_highlights_of_a_noun_are_the_clips_that_show_it(annotations: Path) -> None:
    labels = frame_labels(annotations)
    rows = [row for row in highlight_rows(annotations) if row["query"].endswith("on the screen.")]
    for row in rows:
        noun = row["query"].split()[1]
        shown = np.array([name.endswith(f"_{noun}") for name in labels[row["vid"]]])
        share = shown.reshape(15, 30).mean(axis=1)  # 15 clips of 2 s
        expected = np.nonzero(share / share.max() >= 0.25)[0].tolist()
        assert row["relevant_clip_ids"] == expected
        covered = [s // 2 for a, b in row["relevant_windows"] for s in range(a, b, 2)]
        assert covered == expected
    assert len(rows) >= 6


def test_three_annotators_agree_on_the_best_clip_and_disagree_elsewhere(annotations: Path) -> None:
    rows = highlight_rows(annotations)
    scores = [np.array(row["saliency_scores"]) for row in rows]
    assert all(
        table.shape == (len(r["relevant_clip_ids"]), 3)
        for table, r in zip(scores, rows, strict=True)
    )
    assert all((table.max(axis=0) == 4).all() for table in scores)
    together = np.concatenate(scores)
    assert together.min() >= 0
    assert (together.min(axis=1) != together.max(axis=1)).any()
    assert len({row["qid"] for row in rows}) == len(rows)
    assert {row["duration"] for row in rows} == {30}
