"""What a task says its head speaks of is what its head does."""

import pytest
import torch

from tests.train.outputs import head_context, states_of
from train.tasks import TASKS, load_answers, task_class

KNOWN = {
    "online_action_detection": {"class_names": ["background", "a", "b"]},
    "action_anticipation": {"class_names": ["a", "b"]},
    "action_segmentation": {"class_names": ["a", "b"]},
    "long_term_anticipation": {"verbs": ["a"], "nouns": ["b", "c"]},
    "moment_query": {"class_names": ["a", "b"]},
    "natural_language_query": {},
    "highlight_detection": {},
}


def entries(answers, num_rows):
    """Length of each output of a window of so many rows."""
    rows_BTE = torch.randn(1, num_rows, 8)
    final_BSE = torch.randn(1, max(1, answers.appended_tokens), 8)
    outputs = answers.build_head(head_context(8))(states_of(rows_BTE, final_BSE))
    return {values.shape[1] for values in outputs.values()}


@pytest.mark.parametrize("task", KNOWN)
def test_outputs_have_an_entry_for_each_of_them(task):
    answers = load_answers(task, KNOWN[task], {}, where="test")
    found = [entries(answers, num_rows) for num_rows in (3, 7)]
    expected = {"rows": [{3}, {7}], "places": [{4}, {8}], "windows": [{10}, {10}]}
    assert found == expected[answers.facts.entries]


def test_words_are_what_is_left():
    (other,) = TASKS.keys() - KNOWN.keys()
    assert task_class(other).answers_type.facts.entries == "words"
