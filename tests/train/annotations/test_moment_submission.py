import json

import pytest

from train.annotations.moment_submission import (
    Detection,
    moment_violations,
    read_moments,
    write_challenge_moments,
    write_moments,
)

CLIPS = ["c", "d"]
LABELS = {"eat", "cut"}
RESULTS = {"c": [Detection(label="eat", score=0.5, segment=[2.0, 6.0])], "d": []}
PLAIN = {"c": [{"label": "eat", "score": 0.5, "segment": [2.0, 6.0]}], "d": []}


def told(path, **changed):
    document = {
        "version": "1.0",
        "challenge": "ego4d_moment_queries",
        "detect_results": PLAIN,
        "retrieve_results": PLAIN,
    }
    path.write_text(json.dumps(document | changed))
    return [one.removeprefix(str(path)) for one in moment_violations(path, CLIPS, LABELS)]


def test_the_evaluators_form_is_read_back(tmp_path):
    write_moments(tmp_path / "p.json", RESULTS)
    document = json.loads((tmp_path / "p.json").read_text())
    assert document == {"version": "1.0", "external_data": {}, "results": PLAIN}
    assert read_moments(tmp_path / "p.json") == RESULTS


def test_the_servers_form_has_both_lists_and_breaks_no_rule(tmp_path):
    write_challenge_moments(tmp_path / "p.json", RESULTS)
    document = json.loads((tmp_path / "p.json").read_text())
    assert document == {
        "version": "1.0",
        "challenge": "ego4d_moment_queries",
        "detect_results": PLAIN,
        "retrieve_results": PLAIN,
    }
    assert list(moment_violations(tmp_path / "p.json", CLIPS, LABELS)) == []
    assert told(tmp_path / "q.json") == []


def test_every_violation_is_told(tmp_path):
    wrong = {"label": "fly", "score": 0.5, "segment": [6.0, 2.0]}
    assert told(
        tmp_path / "p.json", detect_results={"c": [wrong]}, retrieve_results={**PLAIN, "e": []}
    ) == [
        ": 1 of 2 clips have no prediction, the first is 'd'.",
        ": field 'detect_results', clip 'c', moment 0: label 'fly' is none of the 2 classes.",
        ": field 'detect_results', clip 'c', moment 0: segment is [6, 2], "
        "expected seconds with 0 <= start <= end.",
        ": clip 'e' is not among the 2 clips of the subset (in 'retrieve_results'). Known: c, d.",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"challenge": "ego4d_nlq_challenge"}, "field 'challenge' is 'ego4d_nlq_challenge'"),
        ({"version": 1}, "field 'version' is 1"),
        ({"retrieve_results": None}, "field 'retrieve_results' is None"),
        ({"detect_results": {"c": [{"label": "eat"}]}}, "field 'score' is missing"),
    ],
)
def test_what_is_no_submission_is_told(tmp_path, changed, message):
    assert message in told(tmp_path / "p.json", **changed)[0]


def test_the_evaluators_form_is_not_the_servers(tmp_path):
    write_moments(tmp_path / "p.json", RESULTS)
    found = list(moment_violations(tmp_path / "p.json", CLIPS, LABELS))
    missing = ("challenge", "detect_results", "retrieve_results")
    assert [one.partition(": ")[2] for one in found] == [
        f"field '{name}' is missing." for name in missing
    ]
