"""Stand-ins of data sets, a hundredth of their size: readers take them, and they are as claimed."""

import csv
import json
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.full_size import DATASETS, make_stand_in
from cache_schema.proof.verify import verify_store
from cache_schema.store import open_store
from train.data.record_ends import record_ends_beyond
from train.data.samples import find_rows
from train.tasks import load_task

SHARE = 0.01
USES = [(name, use) for name, one in DATASETS.items() for use in one.uses]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Return what makes a data set once."""

    @cache
    def made(name):
        folder = tmp_path_factory.mktemp(name)
        make_stand_in(name, folder, SHARE, with_features=True)
        return folder

    return made


def task_of(folder, use):
    return load_task(use.task, folder / "annotations" / use.annotations, {})


@pytest.mark.parametrize(("name", "use"), USES, ids=lambda one: getattr(one, "task", str(one)))
def test_the_store_holds_all_that_the_annotations_name(folder_of, name, use):
    task, stream = task_of(folder_of(name), use), open_store(folder_of(name) / "features.zarr")
    for subset in ("train", "val"):
        samples = task.samples(subset)
        found = find_rows(samples, stream.stream(), allow_missing=0)
        assert found.missing == []
        assert record_ends_beyond(task.facts.name, samples, stream.stream()).num_misfits == 0


def test_features_are_a_whole_store_of_the_width_and_rate_of_the_set(folder_of):
    path = folder_of("qvhighlights") / "features.zarr"
    assert verify_store(path).problems == []
    stream = open_store(path).stream()
    first = stream.video_ids[0]
    assert stream.row_shape == (2816,)
    assert np.diff(stream.times(first)[:, 0]).tolist() == [2.0] * (len(stream.times(first)) - 1)


def test_the_same_stand_in_is_made_again(folder_of, tmp_path):
    make_stand_in("ego4d_nlq_v1", tmp_path / "again", SHARE, with_features=False)
    for name in ("nlq_train.json", "nlq_val.json"):
        again, first = (folder / "annotations" / name for folder in
                        (tmp_path / "again", folder_of("ego4d_nlq_v1")))  # fmt: skip
        assert again.read_bytes() == first.read_bytes()


def test_epic_has_its_classes_and_timestamps(folder_of):
    folder = folder_of("epic100") / "annotations"
    counts = {"train": 672, "validation": 97}
    for name, count in counts.items():
        with (folder / f"EPIC_100_{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count
        assert len({row["narration_id"] for row in rows}) == count
        assert all(row["start_timestamp"] < row["stop_timestamp"] for row in rows)
        assert any("," in row["all_nouns"] for row in rows)
    task = load_task("action_anticipation", folder, {})
    assert (task.source.count_verbs(), task.source.count_nouns()) == (97, 300)
    assert len(task.source.tail_verbs()) == 86
    assert len(task.source.tail_nouns()) == 228
    assert task.source.unseen_participants() == {"P18", "P32"}


def test_the_pairs_of_epic_are_those_of_its_subsets():
    from benchmarks.stand_ins.epic100 import _pairs

    pairs = _pairs(np.random.default_rng(0))
    assert len(set(pairs)) == len(pairs) == 3806
    assert {verb for verb, _ in pairs} == set(range(97))
    assert {noun for _, noun in pairs} == set(range(300))


def test_every_video_of_epic_is_validated_where_that_is_asked(folder_of):
    folder = folder_of("epic100") / "annotations"
    usual, every = (
        load_task("online_action_detection", path, {}) for path in (folder, folder / "every_video")
    )
    assert len(every.samples("val")) == len(usual.samples("train")) + len(usual.samples("val"))
    pairs = {one.verb_noun for one in every.source.actions("val")}
    assert len(pairs) == 769  # 1 % of 67,217 + 9,668 actions: none of the 1,352 pairs comes again


def test_queries_share_clips_and_some_answers_have_no_length(folder_of):
    task = load_task("natural_language_query", folder_of("ego4d_nlq_v2") / "annotations", {})
    queries = task.source.queries("train")
    assert len(queries) == 138
    assert len({one.clip.clip_id for one in queries}) == 13
    assert 0 < sum(one.start_seconds == one.end_seconds for one in queries) < 138 // 4
    assert {one.index for one in queries} > {0, 1, 2}


def test_clips_of_a_video_do_not_overlap(folder_of):
    task = load_task("natural_language_query", folder_of("ego4d_nlq_v2") / "annotations", {})
    clips = {one.clip for one in task.source.queries("train")}
    by_video = {}
    for clip in sorted(clips, key=lambda one: one.start_seconds):
        by_video.setdefault(clip.video_id, []).append(clip)
    assert max(map(len, by_video.values())) > 1
    for own in by_video.values():
        assert all(a.end_seconds <= b.start_seconds for a, b in pairwise(own))


def test_moments_have_other_labels_and_repetitions(folder_of):
    path = folder_of("ego4d_mq_v1") / "annotations" / "moments_train.json"
    entries = [clip for video in json.loads(path.read_text())["videos"] for clip in video["clips"]]
    labels = [one for clip in entries for part in clip["annotations"] for one in part["labels"]]
    primary = [one["label"] for one in labels if one["primary"]]
    assert len(primary) > 136  # 13,600 and those that are there twice
    assert len(primary) < len(labels)
    assert any(not clip["annotations"] for clip in entries)


def test_the_taxonomy_has_the_size_of_its_version(folder_of):
    for version, sizes in ((1, (115, 478)), (2, (117, 521))):
        task = load_task(
            "long_term_anticipation", folder_of(f"ego4d_lta_v{version}") / "annotations", {}
        )
        taxonomy = task.source.taxonomy()
        assert (len(taxonomy.verbs), len(taxonomy.nouns)) == sizes
        assert len(task.samples("train")) == round(20.83 * (1.27 if version == 2 else 1))


def test_both_versions_of_narrations_are_made(folder_of):
    for version in (1, 2):
        folder = folder_of(f"ego4d_narrations_v{version}") / "annotations"
        narrations = load_task("online_captioning", folder, {}).source.narrations("train")
        written = (folder / "narration.json").read_text()
        assert ("redacted" in written) == (version == 1)
        assert {one.text[:4] for video in narrations.values() for one in video} == {"#C C"}
        passes = {one.narration_id.split(":")[1] for video in narrations.values() for one in video}
        assert passes == {"1", "2"} if version == 1 else {"1"}


def test_people_of_breakfast_are_in_one_split(folder_of):
    folder = folder_of("breakfast") / "annotations"
    people = Counter()
    for split in range(1, 5):
        lines = (folder / "splits" / f"test.split{split}.bundle").read_text().split()
        assert lines[0] == "#bundle"
        people.update({line.rsplit("/", 1)[-1][:3] for line in lines[1:]})
    assert set(people.values()) == {1}
    labels = (next((folder / "groundTruth").iterdir())).read_text().split()
    assert labels[0] == labels[-1] == "SIL"
    assert len((folder / "mapping.txt").read_text().splitlines()) == 48


def test_highlights_end_without_a_newline(folder_of):
    folder = folder_of("qvhighlights") / "annotations"
    for subset, count in (("train", 72), ("val", 16), ("test", 15)):
        text = (folder / f"highlight_{subset}_release.jsonl").read_text()
        assert len(text.split("\n")) == count
        assert ("relevant_windows" in text) == (subset != "test")
