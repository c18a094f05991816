"""A submission on its way: where its files are written, what they are packed into, their check.

Subsets and a place in, one file or the zip archive that a challenge's server takes out.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from cache_schema.errors import AnnotationError, ConfigError
from train.challenges import Challenge
from train.task import Subset, TaskFacts
from train.tasks import AnyTask

__all__ = [
    "challenge_of",
    "check_is_submission",
    "check_written",
    "first_of",
    "submission_files",
    "violations_of",
]

ARCHIVE = ".zip"
BEGIN_OF_ANSWERS = b'{"schema_version"'
"""Of each line that ``vllm-predict`` writes (``train.answer``)."""

MOST_TOLD = 20
"""Violations of one submission that are told; the others are like them."""


def challenge_of(facts: TaskFacts) -> Challenge:
    """Return who scores the subset without labels.

    Raises:
        ConfigError: The task has none.
    """
    if facts.challenge is None:
        raise ConfigError(
            f"{facts.name} has no subset 'test': no challenge scores what it says. Ask for 'val'."
        )
    return facts.challenge


@contextmanager
def submission_files(
    facts: TaskFacts, subsets: Sequence[Subset], out: Path
) -> Iterator[dict[Subset, Path]]:
    """Give where the submission of each subset is to be written.

    It is ``out``, or a file of the archive ``out``, which appears at the end.

    Args:
        facts: Of the task.
        subsets: Each once.
        out: Named ``.zip`` where an archive is wanted.

    Raises:
        ConfigError: The task lacks a subset, they make no submission, or ``out`` is named like
            something else.
    """
    if "test" in subsets:
        challenge_of(facts)
    archive = facts.challenge.archive if facts.challenge is not None else {}
    if archive and out.suffix == ARCHIVE:
        _check_archived(archive, subsets, out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".vllm-") as folder:
            files = {subset: Path(folder) / archive[subset] for subset in subsets}
            yield files
            _pack(list(files.values()), out)
        return
    if len(subsets) > 1:
        hint = f"name --out FILE{ARCHIVE}, which holds both" if archive else "ask for one of them"
        raise ConfigError(f"--out {out}: is one file for {' and '.join(subsets)}; {hint}.")
    _check_name(facts, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    yield {subsets[0]: out}


def _check_name(facts: TaskFacts, out: Path) -> None:
    """Refuse a place that is, or is named like, something else than the task's submission."""
    if not facts.submission:
        # A date or a version behind a dot is no suffix of a file.
        if out.is_file() or (out.suffix[1:].isalpha() and not out.is_dir()):
            raise ConfigError(
                f"--out {out}: a submission of {facts.name} is a folder with one file per video. "
                f"Name a folder, such as {out.with_suffix('')}."
            )
    elif out.is_dir():
        raise ConfigError(
            f"--out {out}: is a folder, and a submission of {facts.name} is one file. Name a file "
            f"in it, such as {out / (facts.name + facts.submission)}."
        )
    elif not (out.name.lower().endswith(facts.submission) or out.exists()):
        raise ConfigError(
            f"--out {out}: a submission of {facts.name} is a {facts.submission} file. Name it "
            f"{out.with_suffix(facts.submission)}."
        )


def _check_archived(archive: Mapping[str, str], subsets: Sequence[Subset], out: Path) -> None:
    wanted = list(archive)
    if set(subsets) != set(wanted):
        flags = " ".join(f"--subset {subset}" for subset in wanted)
        raise ConfigError(f"--out {out}: the archive holds {' and '.join(wanted)}; give {flags}.")


def _pack(files: Sequence[Path], out: Path) -> None:
    """Make the archive, beside its place and then in it: it is whole or not there."""
    made = files[0].with_name("archive")
    with ZipFile(made, "w", ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.name)
    made.replace(out)


def check_written(task: AnyTask, path: Path, subset: Subset) -> None:
    """Check what was just written, where a challenge will look at it.

    Raises:
        AnnotationError: It breaks the published rules.
    """
    challenge = task.facts.challenge
    if challenge is None or not (subset == "test" or subset in challenge.archive):
        return
    wrong = list(task.violations(path, subset))
    if wrong:
        told = "\n".join(first_of(wrong))
        raise AnnotationError(f"{path}: breaks the rules of {challenge.name}.\n{told}")


def check_is_submission(facts: TaskFacts, place: Path) -> None:
    """Refuse answers, and a folder that submissions lie in; say what is meant.

    Args:
        facts: Of the task.
        place: What was given as its submission.

    Raises:
        AnnotationError: It is either, such as the ``predictions/val`` of a run.
    """
    if place.is_file() and _holds_answers(place):
        raise AnnotationError(
            f"{place}: holds answers of vllm-predict, which no evaluator reads. A submission is "
            "what vllm-predict RUN --features STORE --subset val writes, and vllm-train after each "
            "epoch."
        )
    own = place / f"{facts.name}{facts.submission}"
    if own.exists():
        raise AnnotationError(f"{place}: is the folder that submissions lie in. Give {own}.")
    if facts.submission and place.is_dir():
        found = ", ".join(sorted(path.name for path in place.iterdir())[:MOST_TOLD])
        raise AnnotationError(
            f"{place}: is a folder, expected a {facts.submission} file. It holds "
            f"{found or 'nothing'}."
        )


def _holds_answers(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(BEGIN_OF_ANSWERS)) == BEGIN_OF_ANSWERS


def violations_of(task: AnyTask, predictions: Path) -> Iterator[str]:
    """Say, a sentence each, what of a submission of ``test`` breaks the published rules.

    Args:
        task: With the annotations of the subset.
        predictions: The file, or the archive that the server takes.

    Raises:
        ConfigError: The task has no challenge.
        AnnotationError: The file cannot be read.
    """
    archive = challenge_of(task.facts).archive
    if not (archive and predictions.suffix == ARCHIVE):
        yield from task.violations(predictions, "test")
        return
    names = _names(predictions)
    for name in names:
        if name not in archive.values():
            yield f"{predictions}: holds '{name}', expected {' and '.join(archive.values())} alone."
    for subset, name in archive.items():
        if name not in names:
            yield f"{predictions}: holds no file '{name}'. It must not lie in a folder."
            continue
        with tempfile.TemporaryDirectory() as folder, ZipFile(predictions) as zipped:
            path = Path(zipped.extract(name, folder))
            own: Subset = "test" if subset == "test" else "val"
            for sentence in task.violations(path, own):
                yield sentence.replace(str(path), f"{predictions}/{name}")


def _names(path: Path) -> list[str]:
    try:
        with ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, BadZipFile) as error:
        raise AnnotationError(f"{path}: cannot be read as a zip archive: {error}.") from error


def first_of(sentences: Sequence[str]) -> Iterator[str]:
    """Yield the first few sentences, and how many more there are."""
    yield from islice(sentences, MOST_TOLD)
    if len(sentences) > MOST_TOLD:
        yield f"... and {len(sentences) - MOST_TOLD} more."
