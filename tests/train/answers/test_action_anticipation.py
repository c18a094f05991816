from tests.train.outputs import logits_of, output_of, output_of_windows, rows_of
from train.answer import Answer, ClassScore, Forecast, Row
from train.answers.action_anticipation import (
    ActionAnticipationOptions,
    AnticipationAnswers,
    AnticipationKnowledge,
)
from train.task import whole_video


def answers(*names, **options):
    knowledge = AnticipationKnowledge(class_names=names)
    return AnticipationAnswers(knowledge, ActionAnticipationOptions(**options))


def forecast(seconds, **probabilities):
    return Forecast(
        seconds=seconds,
        classes=tuple(ClassScore(label=label, probability=p) for label, p in probabilities.items()),
    )


def test_every_row_foretells_each_of_the_next_seconds():
    action = logits_of([[[0.6, 0.4], [0.3, 0.7]], [[0.1, 0.9], [0.5, 0.5]]])
    output = output_of(whole_video("k/a"), rows_of(2, 0.5), action=action)
    assert answers("take", "fill").answer([output], []) == Answer(
        video="k/a",
        task="action_anticipation",
        duration=1.0,
        rows=(
            Row(
                start=0.0,
                end=0.5,
                ahead=(forecast(1.0, take=0.6, fill=0.4), forecast(2.0, fill=0.7, take=0.3)),
            ),
            Row(
                start=0.5,
                end=1.0,
                ahead=(forecast(1.0, fill=0.9, take=0.1), forecast(2.0, take=0.5, fill=0.5)),
            ),
        ),
    )


def test_one_row_one_second_and_the_five_best_of_many():
    names = tuple("abcdefg")
    action = logits_of([[[0.1, 0.1, 0.3, 0.1, 0.1, 0.2, 0.1]]])
    said = answers(*names, steps=1).answer(
        [output_of(whole_video("v"), rows_of(1), action=action)], []
    )
    assert said.rows == (
        Row(start=0.0, end=1.0, ahead=(forecast(1.0, c=0.3, f=0.2, a=0.1, b=0.1, d=0.1),)),
    )


def test_context_of_a_window_foretells_nothing():
    take, fill = [[[0.9, 0.1]]], [[[0.1, 0.9]]]
    output = output_of_windows(
        whole_video("v"),
        rows_of(3),
        (0, 2, 0, {"action": logits_of(take + take)}),
        (1, 3, 1, {"action": logits_of(fill + take)}),
    )
    said = answers("take", "fill", steps=1).answer([output], [])
    assert [one.ahead[0].classes[0].label for one in said.rows] == ["take"] * 3
