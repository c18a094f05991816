"""The truth of every task: in the words of its answers, and the same that its targets teach."""

import math
from itertools import product

import numpy as np
import pytest

from demo.annotations import write_annotations
from demo.truth import DemoSpec, make_truth
from tests.train.outputs import targets_of
from train.task import IGNORED
from train.tasks import TASKS, load_task

SPEC = DemoSpec(train_videos=24, val_videos=2, seconds=24)
"""Enough training videos for every class of the validation videos."""
SECONDS = SPEC.seconds
ROW_SECONDS = 0.3
"""So that no row's centre is a border of the demo set's frames."""
OPTIONS = {
    "online_action_detection": {"learn_background": True},
    "action_anticipation": {"steps": 2},
    "long_term_anticipation": {"num_input_actions": 1, "num_future_actions": 2},
}


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    write_annotations(folder, make_truth(SPEC))
    return folder


@pytest.fixture(scope="module")
def load(official):
    return lambda name: load_task(name, official / name, OPTIONS.get(name, {}))


def truths(task):
    """Return each validation sample, the times of its rows and its truth."""
    for sample in task.samples("val"):
        first, last = sample.start_seconds, min(sample.end_seconds, SECONDS)
        starts = np.arange(first, last - ROW_SECONDS, ROW_SECONDS)
        yield sample, np.stack([starts, starts + ROW_SECONDS], axis=1), task.truth(sample)


def said(truth):
    """Return everything of a truth that has a start and an end."""
    of_queries = [one for query in truth.queries for one in (*query.spans, *query.saliency)]
    return [*truth.segments, *truth.captions, *of_queries]


def ongoing(truth, second):
    return [one for one in truth.segments if one.start <= second < one.end]


def words(name, task):
    """Return all labels that an answer may have."""
    labels = task.answers.labels()
    if name == "long_term_anticipation":
        return {f"{verb} {noun}" for verb, noun in product(labels["verb"], labels["noun"])}
    return {label for names in labels.values() for label in names}


@pytest.mark.parametrize("name", TASKS)
def test_the_truth_of_a_sample_is_said_in_the_words_and_seconds_of_an_answer(load, name):
    task = load(name)
    for sample, _, truth in truths(task):
        assert (truth.video, truth.task) == (sample.video_id, name)
        assert said(truth)
        for one in said(truth):
            assert sample.start_seconds <= one.start <= one.end <= truth.duration <= SECONDS
        labels = [*(one.label for one in truth.segments)]
        labels += [action for future in truth.futures for action in future.actions]
        assert set(labels) <= words(name, task)
        assert {one.score for one in truth.segments} <= {1.0}


@pytest.mark.parametrize("name", ["natural_language_query", "highlight_detection"])
def test_the_query_is_as_it_was_asked(load, name):
    task = load(name)
    for sample, _, truth in truths(task):
        (query,) = truth.queries
        assert task.facts.query_text(query.query) == sample.query
        assert query.spans


def test_segmentation_teaches_the_segment_at_a_rows_centre(load):
    task = load("action_segmentation")
    names = task.answers.labels()["current"]
    for sample, times, truth in truths(task):
        found = [ongoing(truth, centre) for centre in times.mean(axis=1)]
        targets = targets_of(task, sample, times)["current"]
        assert [[one.label for one in here] for here in found] == [[names[one]] for one in targets]


def test_detection_teaches_the_first_class_that_touches_the_cell_in_which_a_row_ends(load):
    task = load("online_action_detection")
    names = task.answers.labels()["current"]
    num_actions = 0
    for sample, times, truth in truths(task):
        actions = [one for one in truth.segments if one.label != "background"]
        for end, target in zip(
            times[:, 1], targets_of(task, sample, times)["current"], strict=True
        ):
            stop = math.ceil(round(end * 4, 6)) / 4
            here = [one.label for one in actions if one.start < stop and one.end > stop - 0.25]
            num_actions += len(here)
            assert names[target] == min(here, key=names.index, default="background")
            if not here and stop <= truth.duration:
                assert [one.label for one in ongoing(truth, stop - 0.125)] == ["background"]
    assert num_actions


def test_anticipation_teaches_the_segment_a_second_after_the_next_rows_end(load):
    task = load("action_anticipation")
    names = task.answers.labels()["action"]
    num_actions = 0
    for sample, times, truth in truths(task):
        targets = targets_of(task, sample, times)["action"][:-1]
        for next_end, (first, second) in zip(times[1:, 1], targets, strict=True):
            for ahead, target in ((1, first), (2, second)):
                here = ongoing(truth, next_end + ahead - 1e-5)
                latest = max(here, key=lambda one: one.start, default=None)
                assert (latest and latest.label) == (None if target == IGNORED else names[target])
                num_actions += latest is not None
    assert num_actions


def test_long_term_anticipation_teaches_the_segments_that_have_not_begun(load):
    task = load("long_term_anticipation")
    name = task.answers.name
    for sample, times, truth in truths(task):
        targets = targets_of(task, sample, times)
        by_row = zip(targets["verb"].tolist(), targets["noun"].tolist(), strict=True)
        for end, (verbs, nouns) in zip(times[:, 1], by_row, strict=True):
            coming = [one.label for one in truth.segments if one.start >= end - 1e-5]
            pairs = [pair for pair in zip(verbs, nouns, strict=True) if IGNORED not in pair]
            assert [name(pair) for pair in pairs] == coming[:2]
        coming = [one.label for one in truth.segments]
        assert truth.futures
        for shown, future in enumerate(truth.futures, start=1):
            assert future.time == truth.segments[shown - 1].end
            assert list(future.actions) == coming[shown : shown + 2]


def test_moment_query_teaches_the_moments(load):
    task = load("moment_query")
    names = task.answers.labels()["classes"]
    for sample, times, truth in truths(task):
        targets = targets_of(task, sample, np.array([[sample.start_seconds, truth.duration]]))
        length = truth.duration - sample.start_seconds
        bounds = sample.start_seconds + targets["segments"] * length
        taught = [
            (names[one], pytest.approx(two, abs=1e-5))
            for one, two in zip(targets["classes"], bounds.tolist(), strict=True)
        ]
        shown = sorted(truth.segments, key=lambda one: (names.index(one.label), one.start))
        assert [(one.label, [one.start, one.end]) for one in shown] == taught
        assert len(times) > len(taught)


def test_natural_language_query_teaches_the_rows_of_the_span(load):
    task = load("natural_language_query")
    for sample, times, truth in truths(task):
        (span,) = truth.queries[0].spans
        places = targets_of(task, sample, times)
        first, last = (int(places[name][0]) - 1 for name in ("start", "end"))
        assert times[first, 0] == pytest.approx(span.start, abs=ROW_SECONDS / 2)
        assert times[last, 1] == pytest.approx(span.end, abs=ROW_SECONDS)


def test_highlight_detection_teaches_the_saliency_at_a_rows_centre(load):
    task = load("highlight_detection")
    for sample, times, truth in truths(task):
        (query,) = truth.queries
        shown = [
            one.score
            for centre in times.mean(axis=1)
            for one in query.saliency
            if one.start <= centre < one.end
        ]
        targets = targets_of(task, sample, times)["saliency"] / 4
        np.testing.assert_allclose(shown, targets, atol=1e-6)
        for span in query.spans:
            inside = [one.score for one in query.saliency if span.start <= one.start < span.end]
            assert min(inside) > 0
