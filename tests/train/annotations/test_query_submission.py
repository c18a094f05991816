import json

import pytest

from tests.train.annotations.ego4d_files import clip_entry, write_clips
from train.annotations.ego4d_clips import Ego4dQueries
from train.annotations.query_submission import query_violations, write_queries


@pytest.fixture
def queries(tmp_path):
    """Two queries with text and one without."""
    asked = [{"query": "Where?"}, {"query": None}, {"query": "Who?"}]
    annotation = {"annotation_uid": "a", "language_queries": asked}
    clip = clip_entry("c", [annotation])
    write_clips(tmp_path / "nlq_test_unannotated.json", clip, split="test")
    return {one.key: one for one in Ego4dQueries(tmp_path).queries("test")}


def entry(index, *times, **more):
    own = {"clip_uid": "c", "annotation_uid": "a", "query_idx": index}
    return own | {"predicted_times": list(times)} | more


def told(path, queries, *entries, **more):
    document = {"version": "1.0", "challenge": "ego4d_nlq_challenge", "results": list(entries)}
    path.write_text(json.dumps(document | more))
    return [one.removeprefix(str(path)) for one in query_violations(path, queries)]


def test_what_is_written_is_the_servers_form_and_breaks_no_rule(tmp_path, queries):
    path = tmp_path / "p.json"
    write_queries(path, {key: [[1.0, 2.5], [0.0, 30.0]] for key in queries})
    assert json.loads(path.read_text()) == {
        "version": "1.0",
        "challenge": "ego4d_nlq_challenge",
        "results": [entry(index, [1.0, 2.5], [0.0, 30.0]) for index in range(3)],
    }
    assert list(query_violations(path, queries)) == []


def test_a_query_without_text_may_be_left_out(tmp_path, queries):
    assert told(tmp_path / "p.json", queries, entry(0, [1, 2]), entry(2, [1, 2])) == []


def test_every_violation_is_told(tmp_path, queries):
    found = told(
        tmp_path / "p.json", queries, entry(0, [3, 2]), entry(0, [1, 2]), entry(7, [-1, 2])
    )
    assert found == [
        ": query ('c', 'a', 0) has 2 entries, expected one.",
        ": query ('c', 'a', 7) is none of the 3 annotated ones.",
        ": 1 of 3 queries have no entry, the first is ('c', 'a', 2).",
        ": query ('c', 'a', 0): 'predicted_times' has [3, 2], "
        "expected seconds of the clip with 0 <= start <= end.",
        ": query ('c', 'a', 7): 'predicted_times' has [-1, 2], "
        "expected seconds of the clip with 0 <= start <= end.",
    ]


def test_what_is_no_submission_is_told_field_by_field(tmp_path, queries):
    path = tmp_path / "p.json"
    wrong = entry(0), entry(2, [1]), entry(1, [1, 2], clip_uid=5)
    version, *entries = told(path, queries, *wrong, version="1")
    assert "field 'version' is '1'" in version
    assert [one.partition(",")[0] for one in entries] == [
        ": record results.0",
        ": record results.1.predicted_times",
        ": record results.2",
    ]
