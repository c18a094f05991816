from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.train.outputs import logits_of, output_of, output_of_windows, rows_of
from train.answer import Answer, Segment, as_json
from train.answers.action_segmentation import (
    ActionSegmentationOptions,
    Decoding,
    SegmentationAnswers,
    SegmentationKnowledge,
)
from train.task import whole_video

NAMES = ("SIL", "pour", "stir")


def answers(*, class_names=NAMES, transcripts=(), **options):
    knowledge = SegmentationKnowledge(class_names=class_names, transcripts=transcripts)
    return SegmentationAnswers(knowledge, ActionSegmentationOptions(**options))


def segment(start, end, label, score):
    return Segment(start=start, end=end, label=label, score=score)


def segments(output, **options):
    return answers(**options).answer([output], []).segments


def test_runs_of_one_class_are_segments_with_their_mean_probability():
    current = logits_of([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.3, 0.5]])
    output = output_of(whole_video("kitchen/a"), rows_of(4, 0.5), current=current)
    answer = answers().answer([output], [])
    assert answer == Answer(
        video="kitchen/a",
        task="action_segmentation",
        duration=2.0,
        segments=(
            segment(0.0, 1.0, "SIL", 0.7),
            segment(1.0, 1.5, "pour", 0.7),
            segment(1.5, 2.0, "stir", 0.5),
        ),
    )
    assert list(as_json(answer)) == ["schema_version", "video", "task", "duration", "segments"]


def test_one_row_is_one_segment():
    output = output_of(whole_video("v"), rows_of(1), current=logits_of([[0.1, 0.2, 0.7]]))
    assert segments(output) == (segment(0.0, 1.0, "stir", 0.7),)


def test_of_equally_probable_classes_the_first_is_said():
    output = output_of(whole_video("v"), rows_of(2), current=np.zeros((2, 3), np.float32))
    assert segments(output) == (segment(0.0, 2.0, "SIL", 0.333333),)


def test_a_class_that_comes_again_is_another_segment():
    current = logits_of([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.9, 0.1, 0]])
    found = segments(output_of(whole_video("v"), rows_of(3), current=current))
    assert [one.label for one in found] == ["SIL", "pour", "SIL"]


def test_of_overlapping_rows_a_segment_lasts_until_the_next_one_starts():
    times = np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 3.5]])
    current = logits_of([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    found = segments(output_of(whole_video("v"), times, current=current))
    assert found == (segment(0.0, 1.0, "SIL", 1.0), segment(1.0, 3.5, "pour", 1.0))


def test_context_of_a_window_and_padding_say_nothing():
    sil, pour = [[0.9, 0.1, 0]], [[0.2, 0.8, 0]]
    output = output_of_windows(
        whole_video("v"),
        rows_of(3),
        (0, 2, 0, {"current": logits_of(sil + sil + pour)}),
        (1, 3, 1, {"current": logits_of(pour + sil + pour)}),
    )
    assert segments(output) == (segment(0.0, 3.0, "SIL", 0.9),)


def test_two_heads_decide_together():
    current = logits_of([[0.9, 0.1, 0], [0.6, 0.4, 0]])
    forecast = logits_of([[0.05, 0.95, 0], [1, 0, 0]])
    output = output_of(whole_video("v"), rows_of(2), current=current, next=forecast)
    # log 0.6 + log 0.05 / 2 < log 0.4 + log 0.95 / 2; the score is the row's own.
    decided = segments(output, next_weight=0.5, decoder="two_head")
    assert decided == (segment(0.0, 1.0, "SIL", 0.9), segment(1.0, 2.0, "pour", 0.4))
    assert segments(output, next_weight=0.5) == (segment(0.0, 2.0, "SIL", 0.75),)


@pytest.mark.parametrize(
    ("decoder", "labels"),
    [("argmax", ["stir", "pour"]), ("causal_filter", ["stir"]), ("history_filter", ["stir"])],
)
def test_the_order_of_training_needs_no_annotations(decoder, labels):
    # Nothing ever followed the last class.
    transcripts = (((0, 30), (1, 90)),)
    current = logits_of([[0.05, 0.95], [0.05, 0.95], [0.6, 0.4]])
    found = segments(
        output_of(whole_video("v"), rows_of(3), current=current),
        class_names=("pour", "stir"),
        transcripts=transcripts,
        decoder=decoder,
        filter_weight=1.0,
    )
    assert [one.label for one in found] == labels


def labelled(video, labels):
    """A video with labels, and what a network says that now and then takes one for another."""
    sample = replace(whole_video(video), target=np.array(labels))
    rng = np.random.default_rng(len(labels))
    scores = np.eye(3, dtype=np.float32)[labels] + rng.normal(0, 0.6, (len(labels), 3))
    return output_of(sample, rows_of(len(labels)), current=scores.astype(np.float32))


def runs(*lengths):
    return [number for number, length in enumerate(lengths) for _ in range(length)]


def test_the_weight_of_history_is_chosen_by_labelled_videos():
    # Always in this order, 20 rows each: what was done says much, one row's scores little.
    known = answers(transcripts=(((0, 20), (1, 20), (2, 20)),) * 3, label_fps=Fraction(1))
    assert known.settles
    assert known.decoding == Decoding()  # until then
    said = known.settle([labelled("a", runs(20, 21, 19)), labelled("b", runs(19, 20, 22))])
    assert known.decoding.decoder == "history_filter"
    assert said.startswith("rows become labels by history_filter, filter_weight ")
    assert known.knowledge.decoding == known.decoding


def test_where_nothing_follows_from_history_the_scores_are_taken_as_they_are():
    rng = np.random.default_rng(0)
    known = answers(transcripts=(((0, 20), (1, 20), (2, 20)),) * 3, label_fps=Fraction(1))
    outputs = []
    for video in "ab":
        labels = rng.integers(3, size=60)
        sample = replace(whole_video(video), target=labels)
        outputs.append(output_of(sample, rows_of(60), current=np.eye(3, dtype=np.float32)[labels]))
    assert known.settle(outputs) == "rows become labels by argmax"
    np.testing.assert_array_equal(known.classes(outputs[1]), outputs[1].sample.target)


def test_what_is_said_is_worth_what_it_gets_right():
    video = labelled("a", runs(20, 21, 19))
    known = answers(transcripts=(((0, 20), (1, 20), (2, 20)),) * 3, label_fps=Fraction(1))
    right = np.eye(3, dtype=np.float32)[video.sample.target] * 9
    assert known.worth([output_of(video.sample, video.times_R2, current=right)]) == 1
    wrong = np.roll(right, 1, axis=1)
    plain = answers(decoder="argmax", label_fps=Fraction(1))
    assert plain.worth([output_of(video.sample, video.times_R2, current=wrong)]) < 0.3
    assert 0.3 < plain.worth([video]) < known.worth([video]) <= 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"decoder": "argmax"}, Decoding(decoder="argmax")),
        ({"decoder": "history_filter"}, Decoding()),
        ({"filter_weight": 3.0}, Decoding(filter_weight=3.0)),
    ],
)
def test_what_is_asked_for_is_not_chosen(options, expected):
    chosen = Decoding(filter_weight=7.0)
    knowledge = SegmentationKnowledge(
        class_names=NAMES, transcripts=(((0, 20), (1, 20)),), decoding=chosen
    )
    known = SegmentationAnswers(knowledge, ActionSegmentationOptions(**options))
    assert not known.settles
    assert known.decoding == expected
    assert SegmentationAnswers(knowledge, ActionSegmentationOptions()).decoding == chosen


def test_without_training_videos_there_is_nothing_to_choose():
    assert not answers().settles


def test_annotations_of_other_videos_take_over_what_was_known_in_training():
    known = answers(transcripts=(((0, 20), (1, 20), (2, 20)),), label_fps=Fraction(1))
    known.settle([labelled("a", runs(20, 21, 19))])
    other = answers(label_fps=Fraction(1))
    other.adopt(known)
    video = labelled("b", runs(19, 20, 22))
    np.testing.assert_array_equal(other.classes(video), known.classes(video))
    assert other.decoding == known.decoding
