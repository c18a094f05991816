import numpy as np
import pytest

from tests.train.outputs import output_of, output_of_windows, rows_of
from train.answer import Answer, Future
from train.answers.long_term_anticipation import (
    FutureAnswers,
    FutureKnowledge,
    LongTermAnticipationOptions,
)
from train.task import whole_video

VERBS, NOUNS = ("take", "cut", "put"), ("knife", "onion")
CUT_ONION = ((0, 0), (1, 1), (2, 0))


def answers(*, nouns=NOUNS, transcripts=(CUT_ONION,), **options):
    knowledge = FutureKnowledge(verbs=VERBS, nouns=nouns, transcripts=transcripts)
    settings = {"num_future_actions": 3, "num_sequences": 2, **options}
    return FutureAnswers(knowledge, LongTermAnticipationOptions(**settings))


def certain(num_classes, *steps, sure=100):
    """Scores (1, Z, K) of one row that are sure of a class at each step."""
    return sure * np.eye(num_classes, dtype=np.float32)[list(steps)][None]


def output(num_rows=1, verbs=(0, 1, 2), nouns=(0, 1, 0), video="ego/a", sure=100):
    """Rows of which only the last says these."""
    verb, noun = certain(3, *verbs, sure=sure), certain(2, *nouns, sure=sure)
    before = num_rows - 1
    return output_of(
        whole_video(video),
        rows_of(num_rows),
        verb=np.concatenate([np.repeat(certain(3, 2, 2, 2), before, axis=0), verb]),
        noun=np.concatenate([np.repeat(certain(2, 1, 1, 1), before, axis=0), noun]),
    )


@pytest.mark.parametrize("decoder", ["argmax", "sample", "consensus"])
def test_futures_are_what_the_last_row_is_sure_of(decoder):
    said = answers(decoder=decoder).answer([output(num_rows=4)], [])
    future = Future(time=4.0, actions=("take knife", "cut onion", "put knife"))
    assert said == Answer(
        video="ego/a",
        task="long_term_anticipation",
        duration=4.0,
        futures=(future, future),
    )


def test_the_last_window_speaks_and_its_padding_does_not():
    def arrays(*verbs):
        rows = [certain(3, verb, verb, verb) for verb in verbs]
        nouns = np.repeat(certain(2, 0, 0, 0), len(verbs), axis=0)
        return {"verb": np.concatenate(rows), "noun": nouns}

    windows = (0, 2, 0, arrays(2, 2)), (1, 3, 1, arrays(2, 1, 0, 0))
    said = answers(decoder="argmax").answer(
        [output_of_windows(whole_video("v"), rows_of(3), *windows)], []
    )
    assert said.futures[0].actions == ("cut knife",) * 3


def test_draws_depend_on_what_was_seen_and_not_on_the_video_s_name():
    options = {"decoder": "sample", "num_sequences": 5}
    first, renamed = (
        answers(**options).answer([output(sure=1, video=name)], []) for name in ("ego/a", "b")
    )
    assert renamed.futures == first.futures
    assert len(set(first.futures)) > 1


def test_a_consensus_holds_only_actions_of_the_training():
    # Knives alone were cut, so an onion is not, whatever the last row is sure of.
    transcripts = (((0, 0), (1, 0), (2, 0)),)
    said = answers(transcripts=transcripts).answer([output(sure=3)], [])
    assert {action for one in said.futures for action in one.actions} <= {
        "take knife",
        "cut knife",
        "put knife",
    }


def test_an_action_without_noun_is_its_verb():
    only_verbs = output_of(
        whole_video("v"),
        rows_of(1),
        verb=certain(3, 0, 1, 2),
        noun=np.zeros((1, 3, 1), np.float32),
    )
    said = answers(nouns=("",), decoder="argmax").answer([only_verbs], [])
    assert said.futures[0].actions == ("take", "cut", "put")
