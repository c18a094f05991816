import functools
import json
import logging
import shutil
import sys
from pathlib import Path

import pytest

from cache_schema.errors import ConfigError
from train.metrics import captions as captions_module
from train.metrics.captions import _java_tokens, caption_scores, penn_tokens
from train.tasks import load_task

GOLDEN = Path(__file__).parents[1] / "golden" / "online_captioning"
CASES = sorted(path.name for path in GOLDEN.iterdir())


needs_java = pytest.mark.skipif(
    shutil.which("java") is None, reason="the official tokenizer and METEOR are Java programs"
)


@pytest.fixture
def no_java(monkeypatch):
    monkeypatch.setenv("PATH", "")


def read(case, name):
    return json.loads((GOLDEN / case / f"{name}.json").read_text())


def score(case):
    task = load_task("online_captioning", GOLDEN / case / "references.json", {})
    return task.score(GOLDEN / case / "predictions.json")


@needs_java
def test_official_numbers_are_reproduced(capsys):
    # One test, since METEOR's Java program takes seconds to start and is kept for the next case.
    for case in CASES:
        expected = read(case, "expected")
        assert score(case) == pytest.approx(expected, abs=1e-6)
        assert len(expected) == 7
    assert capsys.readouterr().out == ""


def test_there_are_three_golden_cases_one_with_several_references():
    assert len(CASES) == 3
    assert {len(texts) for texts in read("multi_reference", "references").values()} > {2, 5}


@pytest.mark.parametrize("case", CASES)
def test_without_java_all_but_meteor_is_reproduced(case, no_java, caplog):
    with caplog.at_level(logging.WARNING, "train.metrics.captions"):
        scores = score(case)
    expected = read(case, "expected")
    assert scores.pop("METEOR") is None
    assert scores == pytest.approx(
        {key: value for key, value in expected.items() if key != "METEOR"}, abs=1e-6
    )
    assert "java was not found: METEOR is left out" in caplog.text
    assert "Install a Java runtime" in caplog.text


@pytest.mark.parametrize("case", CASES)
def test_our_tokens_are_those_of_the_official_tokenizer(case):
    tokenized = read(case, "tokenized")
    for narration_id, texts in read(case, "references").items():
        assert [penn_tokens(text) for text in texts] == tokenized["references"][narration_id]
    for narration_id, text in read(case, "predictions").items():
        assert penn_tokens(text) == tokenized["predictions"][narration_id]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("#C C doesn't pick up the man's cup.", "#c c does n't pick up the man 's cup"),
        ("#O man X.", "#o man x."),
        ("Can't cannot gonna wanna gotta", "ca n't can not gon na wan na got ta"),
        ("He'll say I'm \"in\" (or out)", "he 'll say i 'm in -lrb- or out -rrb-"),
        ("3.5 kg, 50% of $5 -- t-shirts...", "3.5 kg 50 % of $ 5 t-shirts"),
        ("", ""),
    ],
)
def test_english_is_tokenised_as_the_official_tokenizer_does(text, tokens):
    assert penn_tokens(text) == tokens


def test_line_breaks_in_a_caption_do_not_shift_the_others():
    references = {"x": ["one\ntwo"], "y": ["three four"]}
    scores = caption_scores(references, {"x": "one\r two", "y": "three\u2028four"})
    assert scores["Bleu_1"] == pytest.approx(1)
    assert scores["ROUGE_L"] == pytest.approx(1)


def test_an_empty_caption_is_scored_as_one_without_a_hit(no_java):
    scores = caption_scores({"x": ["a b"], "y": ["c d"]}, {"x": "", "y": "c d"})
    assert scores["ROUGE_L"] == pytest.approx(0.5)


@needs_java
def test_a_tokenizer_that_cannot_write_is_told(monkeypatch):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def refuse(self, captions):
        raise PermissionError("read-only")

    monkeypatch.setattr(PTBTokenizer, "tokenize", refuse)
    with pytest.raises(ConfigError, match="its folder must be writable"):
        caption_scores({"x": ["a"]}, {"x": "a"})


@needs_java
def test_a_java_that_does_not_run_is_told(monkeypatch):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    monkeypatch.setattr(PTBTokenizer, "tokenize", lambda self, captions: {})
    with pytest.raises(ConfigError, match="did not tokenise all captions"):
        caption_scores({"x": ["a"]}, {"x": "a"})


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Put a program in Java's place that reads a file and says how fast it was."""

    def put(body):
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\necho 'PTBTokenizer tokenized 2 tokens' >&2\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return put


def test_what_the_tokenizer_says_of_its_speed_is_not_shown(java, capfd):
    java('for last; do :; done; cat "$last"')
    assert _java_tokens({("got", "x"): ["b c"]}) == {("got", "x"): ["b c"]}
    sys.stderr.write("after\n")
    assert capfd.readouterr().err == "after\n"


def test_what_java_says_is_told_if_it_fails(java):
    java("echo 'no room for the heap' >&2")
    with pytest.raises(ConfigError, match=r"(?s)did not tokenise all .*no room for the heap"):
        _java_tokens({("got", "x"): ["b c"], ("got", "y"): ["d"]})


def test_a_meteor_that_dies_is_told_and_started_anew(monkeypatch):
    class Dead:
        released = False

        def __init__(self):
            self.lock = self

        def release(self):
            self.released = True

        def compute_score(self, wanted, got):
            raise ValueError("could not convert string to float: ''")

    dead, started = Dead(), []

    def start():
        started.append(True)
        return dead

    start.cache_clear = started.clear
    monkeypatch.setattr(captions_module, "_meteor", start)
    with pytest.raises(ConfigError, match="METEOR's Java program ended early"):
        captions_module._meteor_score({"x": ["a"]}, {"x": ["a"]})
    assert dead.released
    assert started == []


def test_meteor_is_started_once_however_often_captions_are_scored(monkeypatch):
    from pycocoevalcap.meteor import meteor

    started = []

    class Counted:
        def __init__(self):
            started.append(self)

        def compute_score(self, wanted, got):
            return 0.5, [0.5]

    monkeypatch.setattr(meteor, "Meteor", Counted)
    anew = functools.cache(captions_module._meteor.__wrapped__)
    monkeypatch.setattr(captions_module, "_meteor", anew)
    scores = [captions_module._meteor_score({"x": ["a"]}, {"x": ["a"]}) for _ in range(3)]
    assert scores == [0.5] * 3
    assert len(started) == 1
