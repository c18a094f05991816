from tests.train.outputs import logits_of, output_of, output_of_windows, rows_of
from train.answer import Answer, ClassScore, Row, Segment
from train.answers.online_action_detection import (
    DetectionAnswers,
    DetectionKnowledge,
    OnlineActionDetectionOptions,
)
from train.task import whole_video


def answers(*names, **options):
    knowledge = DetectionKnowledge(class_names=("background", *names))
    return DetectionAnswers(knowledge, OnlineActionDetectionOptions(**options))


def classes(**probabilities):
    return tuple(ClassScore(label=label, probability=p) for label, p in probabilities.items())


def row(start, end, now, following):
    return Row(start=start, end=end, now=now, next=following)


def test_each_row_says_its_own_action_and_the_next_one():
    # Background was not learned: what its column says is nothing.
    current = logits_of([[0.5, 0.4, 0.1], [0.9, 0.07, 0.03], [0.2, 0.2, 0.6]])
    following = logits_of([[0.5, 0.3, 0.2], [0.5, 0.05, 0.45], [0.2, 0.08, 0.72]])
    output = output_of(whole_video("k/a"), rows_of(3, 0.5), current=current, next=following)
    assert answers("stir", "pour").answer([output], []) == Answer(
        video="k/a",
        task="online_action_detection",
        duration=1.5,
        segments=(
            Segment(start=0.0, end=1.0, label="stir", score=0.75),
            Segment(start=1.0, end=1.5, label="pour", score=0.75),
        ),
        rows=(
            row(0.0, 0.5, classes(stir=0.8, pour=0.2), classes(stir=0.6, pour=0.4)),
            row(0.5, 1.0, classes(stir=0.7, pour=0.3), classes(pour=0.9, stir=0.1)),
            row(1.0, 1.5, classes(pour=0.75, stir=0.25), classes(pour=0.9, stir=0.1)),
        ),
    )


def test_background_is_said_where_it_was_learned():
    current = logits_of([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])
    output = output_of(whole_video("v"), rows_of(2), current=current, next=current)
    said = answers("stir", "pour", learn_background=True).answer([output], [])
    assert said.segments == (
        Segment(start=0.0, end=1.0, label="background", score=0.5),
        Segment(start=1.0, end=2.0, label="pour", score=0.6),
    )
    assert said.rows[0].now == classes(background=0.5, stir=0.4, pour=0.1)


def test_the_five_most_probable_classes_are_told_of_equal_ones_the_first():
    names = [f"c{number}" for number in range(7)]
    shares = [0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1]
    logits = logits_of([[0.0001, *shares]])
    output = output_of(whole_video("v"), rows_of(1), current=logits, next=logits)
    (only,) = answers(*names).answer([output], []).rows
    assert [one.label for one in only.now] == ["c1", "c3", "c5", "c0", "c2"]
    assert [one.probability for one in only.next] == [0.2, 0.2, 0.2, 0.1, 0.1]


def test_one_row_and_one_class_is_certain():
    logits = logits_of([[0.7, 0.3]])
    output = output_of(whole_video("v"), rows_of(1), current=logits, next=logits)
    said = answers("stir").answer([output], [])
    assert said.segments == (Segment(start=0.0, end=1.0, label="stir", score=1.0),)
    assert said.rows == (row(0.0, 1.0, classes(stir=1.0), classes(stir=1.0)),)


def test_each_row_speaks_once_whatever_windows_saw_it():
    stir, pour = [[0.0001, 0.9, 0.1]], [[0.0001, 0.1, 0.9]]

    def arrays(rows):
        return {"current": logits_of(rows), "next": logits_of(rows)}

    output = output_of_windows(
        whole_video("v"),
        rows_of(3),
        (0, 2, 0, arrays(stir + stir)),
        (1, 3, 1, arrays(pour + stir + pour)),
    )
    said = answers("stir", "pour").answer([output], [])
    assert [one.now[0].label for one in said.rows] == ["stir", "stir", "stir"]
    assert len(said.segments) == 1
