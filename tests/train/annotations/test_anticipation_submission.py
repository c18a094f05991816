import json

import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from train.annotations.anticipation_submission import (
    AnticipationScores,
    ClassCounts,
    read_submission,
    submission_violations,
    write_submission,
)

IDS = ["P01_101_0", "P01_101_1"]
COUNTS = ClassCounts(verbs=2, nouns=2, actions=3)


def segment(**changed):
    scores = {"verb": {"0": 0.5, "1": 1}, "noun": {"0": -2.0, "1": 0.25}}
    return {**scores, "action": {"0,0": 0.5, "1,0": 0.25, "1,1": 0}, **changed}


def document(**changed):
    header = {"version": "0.2", "challenge": "action_anticipation"}
    levels = {"sls_pt": 2, "sls_tl": 3, "sls_td": 4}
    return {**header, **levels, "results": {one: segment() for one in IDS}, **changed}


def told(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    return [one.removeprefix(str(path)) for one in submission_violations(path, IDS, COUNTS)]


def test_what_is_written_states_the_levels_and_breaks_no_rule(tmp_path):
    scores = AnticipationScores(
        verb_SV=np.array([[0.5, 0.25], [1, 0]]),
        noun_SN=np.array([[0.5, 0.25], [1, 0]]),
        listed_SA=np.array([[0, 2, 3], [3, 1, 0]]),
        action_SA=np.array([[0.5, 0.25, 0], [1, 0.5, 0]]),
    )
    levels = {"sls_pt": 2, "sls_tl": 3, "sls_td": 4}
    write_submission(tmp_path / "p.json", [(IDS, scores)], levels)
    written = json.loads((tmp_path / "p.json").read_text())
    assert list(written) == ["version", "challenge", "sls_pt", "sls_tl", "sls_td", "results"]
    assert {name: written[name] for name in levels} == levels
    assert written["results"]["P01_101_1"]["action"] == {"1,1": 1.0, "0,1": 0.5, "0,0": 0.0}
    assert list(submission_violations(tmp_path / "p.json", IDS, COUNTS)) == []


def test_a_submission_without_actions_breaks_no_rule(tmp_path):
    plain = {kind: scores for kind, scores in segment().items() if kind != "action"}
    assert told(tmp_path, document()) == []
    assert told(tmp_path, document(results=dict.fromkeys(IDS, plain))) == []


def test_every_violation_is_told_and_names_its_segment(tmp_path):
    first = segment(verb={"0": 0.5}, action={"0,0": 0.5, "1,0": 0.25, "9,1": 0})
    found = told(tmp_path, document(version="0.1", sls_td=6, results={IDS[0]: first, "P9": {}}))
    assert found == [
        ": field 'version' is '0.1', expected '0.2'.",
        ": field 'sls_td' is 6, expected 0 to 5.",
        ": segment 'P9' is not among the 2 annotated ones. Known: P01_101_0, P01_101_1.",
        ": segment 'P01_101_0', field 'verb' has 1 scores, expected 2.",
        ": segment 'P01_101_0', field 'action' has '9,1', expected 'verb id,noun id'.",
    ]


def test_actions_of_some_segments_only_are_told(tmp_path):
    plain = {kind: scores for kind, scores in segment().items() if kind != "action"}
    (found,) = told(tmp_path, document(results={IDS[0]: segment(), IDS[1]: plain}))
    assert found == ": segment 'P01_101_1', field 'action' is missing or no object of scores."


def test_an_entry_that_is_no_object_and_missing_results_are_told(tmp_path):
    (found,) = told(tmp_path, document(results={IDS[0]: segment(), IDS[1]: 3}))
    assert found == ": segment 'P01_101_1', got int, expected an object."
    (found,) = told(tmp_path, document(results=[]))
    assert found == ": field 'results' is missing or no object of segments."


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "0.1"},
        {"challenge": "action_recognition"},
        {"sls_pt": None},
        {"results": {}},
        {"results": {IDS[0]: segment(), IDS[1]: segment(noun={"0": 1, "1": float("nan")})}},
    ],
)
def test_what_is_a_violation_cannot_be_scored_either(tmp_path, wrong):
    assert len(told(tmp_path, document(**wrong))) == 1
    with pytest.raises(AnnotationError):
        read_submission(tmp_path / "p.json", IDS, COUNTS)
