"""The tasks by name; asking for one imports that one only."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.parsing import nearest, parse
from cache_schema.plugins import InstalledPart, find_installed, installed_names, their_errors
from train.task import Answers, Task

__all__ = ["TASKS", "load_answers", "load_task", "task_class"]

AnyTask = Task[Any, Any]
AnyAnswers = Answers[Any, Any]

TASKS = {
    "online_action_detection": "train.tasks.online_action_detection:OnlineActionDetection",
    "action_anticipation": "train.tasks.action_anticipation:ActionAnticipation",
    "action_segmentation": "train.tasks.action_segmentation:ActionSegmentation",
    "online_captioning": "train.tasks.online_captioning:OnlineCaptioning",
    "long_term_anticipation": "train.tasks.long_term_anticipation:LongTermAnticipation",
    "moment_query": "train.tasks.moment_query:MomentQuery",
    "natural_language_query": "train.tasks.natural_language_query:NaturalLanguageQuery",
    "highlight_detection": "train.tasks.highlight_detection:HighlightDetection",
}
"""Task name -> module and class."""

GROUP = "video_feature_llm.tasks"
"""Entry points of other packages: a name, and a class made from ``Task``."""


ANSWERS_HAVE = ("facts", "knowledge_type", "options_type")
"""What a class of answers must say of itself."""


def load_task(name: str, annotations: Path, options: Mapping[str, Any]) -> AnyTask:
    """Return a task bound to its annotations and options.

    Args:
        name: Key of ``TASKS``.
        annotations: The official annotation folder or file.
        options: Plain values; what is left out has the task's default.

    Raises:
        ConfigError: The task or an option is unknown, or an option has a wrong value.
        AnnotationError: The annotations are wrong.
    """
    made = task_class(name)
    parsed: Any = parse(made.answers_type.options_type, options, where=f"options of task {name}")
    with _their_errors(name, "cannot open its annotations"):
        return made(made.open(annotations, parsed), parsed)


def load_answers(
    name: str, knowledge: Mapping[str, Any], options: Mapping[str, Any], *, where: str
) -> AnyAnswers:
    """Return the half of a task that needs no annotations.

    Args:
        name: Key of ``TASKS``.
        knowledge: Plain values, as a checkpoint has them.
        options: Plain values; what is left out has the task's default.
        where: The checkpoint, for messages.

    Raises:
        ConfigError: The task or an option is unknown, or an option has a wrong value.
        CheckpointError: What is known is not what the task needs.
    """
    made = task_class(name).answers_type
    chosen: Any = parse(made.options_type, options, where=f"options of task {name}")
    known: Any = parse(
        made.knowledge_type, knowledge, where=f"{where}: task {name}", error=CheckpointError
    )
    return made(known, chosen)


def task_class(name: str) -> type[AnyTask]:
    """Return the class of a task: one of ours, or one that an installed package offers.

    Raises:
        ConfigError: if there is none of this name, or the package's is no task.
    """
    if name in TASKS:
        module_name, _, class_name = TASKS[name].partition(":")
        found: type[AnyTask] = getattr(import_module(module_name), class_name)
        return found
    part = find_installed(GROUP, "task", name, instead="")
    if part is None:
        raise ConfigError(
            f"Unknown task '{name}'. {nearest(name, [*TASKS, *installed_names(GROUP)])}"
        )
    whose = _whose(name, part)
    with their_errors(whose, "cannot be imported"):
        loaded = part.entry_point.load()
    return _checked(name, loaded, whose)


def _whose(name: str, part: InstalledPart) -> str:
    return f"task '{name}' {part.whose}"


def _their_errors(name: str, what: str) -> AbstractContextManager[None]:
    """Turn errors of a package's task into sentences; an error of ours stays what it is."""
    part = None if name in TASKS else find_installed(GROUP, "task", name, instead="")
    return nullcontext() if part is None else their_errors(_whose(name, part), what)


def _checked(name: str, loaded: object, whose: str) -> type[AnyTask]:
    """Check what of a foreign task can be seen before it is used."""
    if not (isinstance(loaded, type) and issubclass(loaded, Task)):
        got = f"{loaded.__name__}" if isinstance(loaded, type) else type(loaded).__name__
        raise ConfigError(f"{whose}: is {got}, expected a class made from train.Task.")
    half = getattr(loaded, "answers_type", None)
    if not (isinstance(half, type) and issubclass(half, Answers)):
        raise ConfigError(
            f"{whose}: answers_type is {half!r}, expected a class made from train.Answers."
        )
    for one in (loaded, half):
        missing = sorted(one.__abstractmethods__)
        if one is half:
            missing += [key for key in ANSWERS_HAVE if not hasattr(half, key)]
        if missing:
            raise ConfigError(
                f"{whose}: {one.__name__} lacks {', '.join(missing)}. See docs/extending.md."
            )
    if half.facts.name != name:
        raise ConfigError(
            f"{whose}: its facts name it '{half.facts.name}', expected the entry point's name."
        )
    return loaded
