"""The tasks by name; asking for one imports that one only."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.parsing import nearest, parse, to_mapping
from cache_schema.plugins import find_installed, installed_names
from train.task import Answers, Task
from train.tasks.installed import load_installed

__all__ = ["TASKS", "all_options", "load_answers", "load_task", "task_class"]

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
    parsed = _options(name, made.answers_type, options)
    return made(made.open(annotations, parsed), parsed)


def all_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's options as plain values, with its defaults for what is left out.

    Raises:
        ConfigError: The task or an option is unknown, or an option has a wrong value.
    """
    return to_mapping(_options(name, task_class(name).answers_type, options))


def _options(name: str, answers_type: type[AnyAnswers], options: Mapping[str, Any]) -> object:
    return parse(answers_type.options_type, options, where=f"options of task {name}")


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
    chosen = _options(name, made, options)
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
    return load_installed(name, part)
