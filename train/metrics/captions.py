"""Captioning metrics by the code behind COCO's: BLEU, METEOR, ROUGE-L and CIDEr.

Captions by id in, one number per metric out. All rules are pycocoevalcap's; its tokenizer and
METEOR are Java programs. Without Java the tokens are made here and METEOR is None.
"""

import io
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any

from cache_schema.errors import ConfigError

__all__ = ["caption_scores", "penn_tokens"]

logger = logging.getLogger(__name__)

STANDARD_ERROR = 2
"""Descriptor that a program inherits, whatever ``sys.stderr`` is."""

Captions = Mapping[str, Sequence[str]]
"""Id -> captions."""


def caption_scores(references: Captions, predictions: Mapping[str, str]) -> dict[str, float | None]:
    """Return ``Bleu_1`` to ``Bleu_4``, ``METEOR``, ``ROUGE_L`` and ``CIDEr``.

    BLEU and METEOR are those of the corpus, the others means over captions. All are fractions but
    CIDEr, which reaches 10. METEOR is None where there is no Java.

    Args:
        references: Id -> one or more captions.
        predictions: A caption for each id of the references.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    has_java = shutil.which("java") is not None
    wanted, got = _tokenized(references, predictions, has_java=has_java)
    with redirect_stdout(io.StringIO()):  # pycocoevalcap prints
        bleu, _ = Bleu(4).compute_score(wanted, got)
        scores = {f"Bleu_{size}": float(value) for size, value in enumerate(bleu, start=1)}
        rouge, _ = Rouge().compute_score(wanted, got)
        cider, _ = Cider().compute_score(wanted, got)
    return {
        **scores,
        "METEOR": _meteor_score(wanted, got) if has_java else None,
        "ROUGE_L": float(rouge),
        "CIDEr": float(cider),
    }


Tokens = dict[str, list[str]]
"""Id -> captions as tokens with a space between them."""


def _tokenized(
    references: Captions, predictions: Mapping[str, str], *, has_java: bool
) -> tuple[Tokens, Tokens]:
    if not has_java:
        logger.warning(
            "java was not found: METEOR is left out, and captions are tokenised without the "
            "official tokenizer. Install a Java runtime of version 8 or later to get both."
        )
        wanted = {one: [penn_tokens(text) for text in texts] for one, texts in references.items()}
        return wanted, {one: [penn_tokens(text)] for one, text in predictions.items()}
    # One call for both sides, since each starts a Java machine.
    merged = {("wanted", one): texts for one, texts in references.items()}
    tokens = _java_tokens(merged | {("got", one): [text] for one, text in predictions.items()})
    return (
        {one: tokens["wanted", one] for one in references},
        {one: tokens["got", one] for one in references},
    )


Key = tuple[str, str]


def _java_tokens(captions: Mapping[Key, Sequence[str]]) -> dict[Key, list[str]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # The tokenizer reads lines: a line break within a caption would shift all that follow.
    lines = {
        key: [{"caption": " ".join(text.split())} for text in texts]
        for key, texts in captions.items()
    }
    try:
        with _no_standard_error() as said:
            tokens: dict[Key, list[str]] = PTBTokenizer().tokenize(lines)
            errors = said()
    except OSError as error:
        raise ConfigError(
            f"pycocoevalcap's tokenizer cannot run: {error}. It writes a file beside itself, so "
            "its folder must be writable; without java on the PATH it is not needed."
        ) from error
    if {key: len(texts) for key, texts in tokens.items()} != {
        key: len(texts) for key, texts in lines.items()
    }:
        raise ConfigError(
            "java was found but did not tokenise all captions. Check that 'java -version' works. "
            f"{errors}".rstrip()
        )
    return tokens


@contextmanager
def _no_standard_error() -> Iterator[Callable[[], str]]:
    """Keep what programs that are started meanwhile write to standard error, and give a look at it.

    The tokenizer writes how fast it was, once for each epoch, and has no switch for that.
    """
    sys.stderr.flush()
    before = os.dup(STANDARD_ERROR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), STANDARD_ERROR)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(before, STANDARD_ERROR)
            os.close(before)


def _meteor_score(wanted: Tokens, got: Tokens) -> float:
    meteor = _meteor()
    try:
        score, _ = meteor.compute_score(wanted, got)
    except (OSError, ValueError) as error:
        meteor.lock.release()  # else its destructor waits for ever
        _meteor.cache_clear()
        raise ConfigError(
            "METEOR's Java program ended early; it needs 2 GB of memory. Free some, or take java "
            "off the PATH to score without METEOR."
        ) from error
    return float(score)


@cache
def _meteor() -> Any:  # noqa: ANN401 - pycocoevalcap has no types
    """Start METEOR once per process: reading its paraphrases takes five seconds."""
    from pycocoevalcap.meteor.meteor import Meteor

    return Meteor()


BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
TOKEN = re.compile(
    r"""
    [#@][a-z]\w*                        # "#c" of "#C C" stays whole
    | (?:[a-z]\.){2,}                   # u.s.a.
    | (?<!\w)[a-z]\.(?=\s*$)           # "man x." ends like an abbreviation
    | \d+(?:[.,/:]\d+)*                 # 3.5
    | [^\W\d_]+?(?=n't\b)               # do|n't
    | (?:can|gon|wan|got)(?=not\b|na\b|ta\b)
    | n't\b | '(?:s|re|ve|ll|d|m)\b     # what it is cut off from
    | \w+(?:[-/]\w+)*                   # man-x, a/b
    | [^\w\s]
    """,
    re.VERBOSE,
)
PUNCTUATION = set("'`\".?!,:;-")


def penn_tokens(text: str) -> str:
    """Return a caption's tokens as the official tokenizer makes them of plain English.

    Lower case, Penn-treebank contractions, no punctuation; tokens are joined by a space. It knows
    none of the rarer rules (abbreviations, ellipses in words, markup).

    Examples:
        >>> penn_tokens("#C C doesn't pick up the man's cup.")
        "#c c does n't pick up the man 's cup"
    """
    tokens = TOKEN.findall(text.lower())
    return " ".join(BRACKETS.get(token, token) for token in tokens if token not in PUNCTUATION)
