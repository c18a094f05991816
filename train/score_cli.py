"""``vllm-score``: the official numbers of a submission file, offline.

A task's name, its annotations and a submission in; a table or one JSON object out. Of a subset
without labels it tells instead whether the submission follows the rules of its challenge.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache_schema.errors import ConfigError

if TYPE_CHECKING:  # tasks are loaded when the command runs
    from train.tasks import AnyTask

__all__ = ["command", "main"]


@click.command(name="vllm-score", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--task",
    required=True,
    metavar="NAME",
    help="Name of the task, for example action_segmentation.",
)
@click.option(
    "--annotations",
    required=True,
    type=click.Path(path_type=Path),
    help="The official annotation folder or file.",
)
@click.option(
    "--predictions",
    required=True,
    type=click.Path(path_type=Path),
    help="The submission, in the task's official format.",
)
@click.option(
    "--subset",
    type=click.Choice(["val", "test"]),
    default="val",
    show_default=True,
    help="test has no labels: check the submission against its challenge's rules.",
)
@click.option(
    "--options",
    type=click.Path(path_type=Path),
    help="JSON file with options of the task.",
)
@click.option(
    "--variant",
    help="Also print the numbers of another evaluator in use: asformer, for action_segmentation.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    task: str,
    annotations: Path,
    predictions: Path,
    subset: str,
    options: Path | None,
    variant: str | None,
    as_json: bool,
) -> None:
    """Score a submission by the official rules of its task.

    \b
    Example:
      vllm-score --task action_segmentation --annotations bf/ --predictions predictions/

    Exit codes: 0 scored, or no rule is broken; 1 a rule is broken; 2 wrong usage or files.
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    from train.submission import check_is_submission
    from train.tasks import load_task

    chosen = _read_options(options) if options else {}
    if variant:
        chosen["variant"] = variant
    loaded = load_task(task, annotations, chosen)
    if subset == "test":
        context.exit(_check(loaded, predictions, as_json=as_json))
    check_is_submission(loaded.facts, predictions)
    scores = loaded.score(predictions)
    click.echo(json.dumps(scores, indent=1) if as_json else _table(scores))


def _check(task: "AnyTask", predictions: Path, *, as_json: bool) -> int:
    """Tell which rules a submission breaks, and return the exit code."""
    from train.submission import challenge_of, check_is_submission, first_of, violations_of

    challenge = challenge_of(task.facts)
    check_is_submission(task.facts, predictions)
    wrong = list(violations_of(task, predictions))
    if as_json:
        click.echo(json.dumps({"challenge": challenge.name, "violations": wrong}, indent=1))
    elif wrong:
        click.echo("\n".join([*first_of(wrong), f"It breaks the rules of {challenge.name}."]))
    else:
        click.echo(f"{predictions}: follows the rules of {challenge.name}. {challenge.submit}")
    return 1 if wrong else 0


def main() -> None:
    """Run the command; errors of the pipeline end as a sentence and an exit code."""
    from cache_schema.cli_edge import run

    run(command)


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check --options.") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}.") from error
    if not isinstance(options, dict):
        raise ConfigError(f"{path}: got {type(options).__name__}, expected a JSON object.")
    return options


def _table(scores: dict[str, float | None]) -> str:
    """Return one line per number; a dash where the subset it looks at is empty."""
    width = max(map(len, scores))
    shown = {key: "-" if value is None else f"{value:.4f}" for key, value in scores.items()}
    return "\n".join(f"{key:<{width}}  {value:>9}" for key, value in shown.items())
