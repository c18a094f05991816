"""A task of another installed package: checked before it is used, its errors told from ours."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

from cache_schema.errors import ConfigError, PipelineError
from cache_schema.plugins import InstalledPart, their_errors
from train.task import Answers, SampleOutput, Task, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = ["load_installed"]

Method = Callable[..., Any]
Guard = Callable[[str, Any, str], Method]
"""Name of a member, the member and whose it is -> the member with its errors told."""


def load_installed(name: str, part: InstalledPart) -> type[Task[Any, Any]]:
    """Return the class that a package offers, made so that errors in it say whose they are.

    Args:
        name: Of the task and the entry point.
        part: What is offered.

    Raises:
        ConfigError: if it cannot be imported, or is not what ``train.task`` asks for.
    """
    whose = f"task '{name}' {part.whose}"
    with their_errors(whose, "cannot be imported"):
        loaded = part.entry_point.load()
    task = _checked(loaded, "the class", Task, ("answers_type",), whose)
    half = _checked(task.answers_type, "answers_type", Answers, ("facts",), whose)
    _check_facts(name, half.facts, whose)
    guarded: type[Task[Any, Any]] = _guarded(
        task, Task, whose, answers_type=_guarded(half, Answers, whose)
    )
    return guarded


def _checked(loaded: Any, what: str, seam: type, needed: Iterable[str], whose: str) -> Any:  # noqa: ANN401
    """Check what of others' class can be seen before it is used."""
    if not (isinstance(loaded, type) and issubclass(loaded, seam)):
        got = loaded.__name__ if isinstance(loaded, type) else type(loaded).__name__
        raise ConfigError(
            f"{whose}: {what} is {got}, expected a class made from train.{seam.__name__}."
        )
    abstract = getattr(loaded, "__abstractmethods__", ())
    missing = sorted({*abstract, *(name for name in needed if not hasattr(loaded, name))})
    if missing:
        raise ConfigError(
            f"{whose}: {loaded.__name__} lacks {', '.join(missing)}. See docs/extending.md."
        )
    return loaded


def _check_facts(name: str, facts: object, whose: str) -> None:
    if not isinstance(facts, TaskFacts):
        raise ConfigError(f"{whose}: facts is {type(facts).__name__}, expected train.TaskFacts.")
    if facts.name != name:
        raise ConfigError(
            f"{whose}: its facts name it '{facts.name}', expected the entry point's name."
        )


def _guarded(cls: type, seam: type, whose: str, **members: object) -> Any:  # noqa: ANN401
    """Return a subclass whose members say whose they are when they fail; ours stay as they are."""
    for name in vars(seam):
        owner = next(one for one in cls.__mro__ if name in vars(one))
        if not (name.startswith("_") or name in members or _is_ours(owner)):
            members[name] = _guarded_member(name, vars(owner)[name], whose)
    told = {"__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls)(cls.__name__, (cls,), {**told, **members})


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "train"


def _guarded_member(name: str, member: object, whose: str) -> object:
    special: dict[str, Guard] = {"build_head": _building, "write_predictions": _writing}
    guard = special.get(name, _guarded_call)
    match member:
        case staticmethod():
            return staticmethod(guard(name, member.__func__, whose))
        case property():
            return property(guard(name, member.fget, whose))
        case cached_property():
            return cached_property(guard(name, member.func, whose))
        case _ if inspect.isfunction(member):
            return guard(name, member, whose)
        case _:
            return member  # a plain value


def _guarded_call(name: str, call: Any, whose: str) -> Method:  # noqa: ANN401
    @wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        with their_errors(whose, f"failed in {name}", PipelineError):
            return call(*args, **kwargs)

    return guarded


def _building(name: str, call: Method, whose: str) -> Method:
    """Guard the making of a head, and the head."""

    @wraps(call)
    def build_head(*args: Any, **kwargs: Any) -> "nn.Module":  # noqa: ANN401
        head: nn.Module = _guarded_call(name, call, whose)(*args, **kwargs)
        if not _is_ours(type(head)):
            head.forward = _guarded_call("the head's forward", head.forward, whose)
        return head

    return build_head


def _writing(name: str, call: Method, whose: str) -> Method:
    """Guard what goes through the outputs, but not the making of the outputs, which is ours."""

    @wraps(call)
    def write_predictions(self: object, outputs: Iterable[SampleOutput], *args: object) -> None:
        made = _Outputs(outputs)
        try:
            _guarded_call(name, call, whose)(self, made, *args)
        except PipelineError as error:
            if made.error is not None and error.__cause__ is made.error:
                raise made.error from None
            raise

    return write_predictions


class _Outputs:
    """Outputs that know the error that ended their making."""

    def __init__(self, outputs: Iterable[SampleOutput]) -> None:
        self._outputs = outputs
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[SampleOutput]:
        try:
            yield from self._outputs
        except Exception as error:
            self.error = error
            raise
