import numpy as np
import pytest

from tests.train.outputs import logits_of, output_of, output_of_windows, rows_of
from train.answer import Answer, Segment, as_json
from train.answers.action_segmentation import (
    ActionSegmentationOptions,
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
