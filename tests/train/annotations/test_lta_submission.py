import json

import numpy as np

from train.annotations.lta_submission import (
    challenge_shape,
    future_violations,
    read_futures,
    write_futures,
)

KEYS = ["c_3", "c_4"]
SHAPE = challenge_shape({"verb": 3, "noun": 2})


def told(path, entries):
    path.write_text(json.dumps(entries))
    return [one.removeprefix(str(path)) for one in future_violations(path, KEYS, SHAPE)]


def test_the_server_wants_five_futures_of_twenty_actions(tmp_path):
    path = tmp_path / "p.json"
    futures = np.ones((5, 20, 2), np.int64)
    write_futures(path, dict.fromkeys(KEYS, futures))
    assert json.loads(path.read_text())["c_4"] == {"verb": [[1] * 20] * 5, "noun": [[1] * 20] * 5}
    assert list(future_violations(path, KEYS, SHAPE)) == []
    assert np.array_equal(read_futures(path, KEYS, SHAPE)[0], futures)


def test_every_violation_is_told_and_names_its_window(tmp_path):
    right = [[1] * 20] * 5
    few = {"verb": right[:4], "noun": [[1] * 19] * 5}
    high = {"verb": right, "noun": [[2] * 20] * 5}
    found = told(tmp_path / "p.json", {"c_3": few, "c_4": high, "c_5": {}})
    assert found[0].startswith(": window 'c_5' is not among the 2 annotated ones (<clip_uid>_")
    assert [one.partition(" is ")[0] for one in found[1:]] == [
        ": window 'c_3', field 'verb'",
        ": window 'c_3', field 'noun'",
        ": window 'c_4', field 'noun'",
    ]
    assert all("expected 5 lists of 20 ids below" in one for one in found[1:])
