"""Tiny annotation folders in the official layouts, for tests of readers and tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

EPIC_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)


def write(path: Path, *lines: str) -> Path:
    """Write lines of text, making folders as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def breakfast_folder(
    folder: Path,
    labels: Mapping[str, Sequence[str]],
    *,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    classes: Sequence[str] = ("SIL", "pour", "stir"),
) -> Path:
    """Write a Breakfast folder with split 1."""
    write(folder / "mapping.txt", *(f"{index} {name}" for index, name in enumerate(classes)))
    for video, names in labels.items():
        write(folder / "groundTruth" / f"{video}.txt", *names)
    for side, videos in (("train", train), ("test", test)):
        write(folder / "splits" / f"{side}.split1.bundle", *(f"{video}.txt" for video in videos))
    return folder


def epic_row(
    narration: str,
    start: str,
    stop: str,
    verb: int,
    noun: int,
    *,
    video: str = "P01_01",
    words: tuple[str, str] = ("", ""),
) -> str:
    """Return one record; times are seconds and decimals, as in ``05.25``, words verb and noun."""
    participant = video.partition("_")[0]
    return (
        f"{narration},{participant},{video},00:00:00.000,00:00:{start},00:00:{stop},1,2,"
        f"do it,{words[0]},{verb},{words[1]},{noun},\"['it', 'that']\",\"[{noun}, 9]\""
    )


def epic_folder(folder: Path, *, train: Sequence[str] = (), val: Sequence[str] = ()) -> Path:
    """Write an EPIC folder: two videos of 2 and 1 seconds, participant P02 and verb 5 special."""
    write(folder / "EPIC_100_train.csv", EPIC_HEADER, *train)
    write(folder / "EPIC_100_validation.csv", EPIC_HEADER, *val)
    write(folder / "EPIC_100_tail_verbs.csv", "verb", "5")
    write(folder / "EPIC_100_tail_nouns.csv", "noun")
    write(folder / "EPIC_100_unseen_participant_ids_validation.csv", "participant_id", "P02")
    write(folder / "video_lengths.csv", "video_id,num_frames", "P01_01,8", "P02_01,4")
    return folder


EPIC_TEST_HEADER = (
    "uid,narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame"
)


def epic_test_row(narration: str, start: str, stop: str, *, video: str = "P01_01") -> str:
    """Return one record of the file without classes."""
    participant = video.partition("_")[0]
    return f"7,{narration},{participant},{video},00:00:00.000,00:00:{start},00:00:{stop},1,2"


def epic_test_file(folder: Path, *rows: str) -> Path:
    """Write the segments of an EPIC folder whose actions are to be told."""
    return write(folder / "EPIC_100_test_timestamps.csv", EPIC_TEST_HEADER, *rows)
