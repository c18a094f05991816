"""Encoders that others wrote: a class in a Python file, or one that an installed package offers.

Code decides a row as much as weights do, so the recipe's id names it: a file by its SHA-256, a
package by its version.

    ./mine.py:MyEncoder   ->  mine.py:MyEncoder@sha256:<64 hex digits>
    mine                  ->  mine@my-encoders==1.0

Finding one runs nothing of it and imports no torch; ``ForeignEncoder.make`` does both.
"""

import hashlib
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from cache_schema.errors import ConfigError
from cache_schema.plugins import find_installed, their_errors
from extract.encode.encoders.options import EncoderOptions

__all__ = [
    "GROUP",
    "ForeignEncoder",
    "file_of",
    "find_foreign",
    "name_of",
]

GROUP = "video_feature_llm.encoders"
"""Entry points of this group: a name, and a callable of ``EncoderOptions``."""

_FILE = re.compile(r"(?P<path>.+\.py)(:(?P<attribute>\w+)?)?")
_INSTALLED_NAME = re.compile(r"[\w][\w.-]*", re.ASCII)
_ID_END = re.compile(r"@(sha256:[0-9a-f]{64}|[^@]+==[^@]+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignEncoder:
    """Where an encoder of others comes from."""

    id: str
    """What its recipe is called."""
    whose: str
    """The beginning of a sentence about it."""
    load: Callable[[], object]
    """Imports the code and returns what should be a callable of ``EncoderOptions``."""

    def make(self, options: EncoderOptions) -> object:
        """Run their code: import it and call it.

        Raises:
            ConfigError: saying whose code failed, where and why.
        """
        with their_errors(self.whose, "cannot be imported"):
            maker = self.load()
        if not callable(maker):
            raise ConfigError(
                f"{self.whose}: is {type(maker).__name__}, expected a class or function that takes "
                "EncoderOptions. See docs/extending.md."
            )
        with their_errors(self.whose, "failed when it was made"):
            made: object = maker(options)
        return made


def find_foreign(name: str) -> ForeignEncoder | None:
    """Return the encoder of others that a name means, or None if it means none.

    Args:
        name: ``path/to/file.py:Name`` or the name of an entry point of ``GROUP``.

    Raises:
        ConfigError: if the file cannot be read or the name is incomplete, or if two installed
            packages offer an encoder of this name.
    """
    match = _FILE.fullmatch(name)
    if match and (match["attribute"] or Path(match["path"]).is_file()):
        return _in_file(Path(match["path"]), match["attribute"])
    return _installed(name) if _INSTALLED_NAME.fullmatch(name) else None


def file_of(name: str) -> tuple[Path, str] | None:
    """Return file and class of ``path/to/file.py:Name``; None of any other name."""
    match = _FILE.fullmatch(name)
    return (Path(match["path"]), match["attribute"]) if match and match["attribute"] else None


def name_of(encoder_id: str) -> str:
    """Return the name behind a recipe's id: without the version or SHA-256 of the code.

    >>> name_of("mine@my-encoders==1.0"), name_of("mine.py:A@sha256:" + 64 * "0"), name_of("a@b")
    ('mine', 'mine.py:A', 'a@b')
    """
    return _ID_END.sub("", encoder_id)


def _in_file(path: Path, attribute: str | None) -> ForeignEncoder:
    if not attribute:
        raise ConfigError(
            f"encoder '{path}': say what makes the encoder in this file, as {path}:MyEncoder."
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"encoder '{path}:{attribute}': {path} cannot be read: {error.strerror}. Give the "
            "file's path, from this folder or absolute."
        ) from error
    whose = f"encoder '{path}:{attribute}'"

    def load() -> object:
        module = _module(path.resolve(), source)
        if not hasattr(module, attribute):
            known = ", ".join(name for name in vars(module) if not name.startswith("_"))
            raise ConfigError(f"{whose}: {path} has no '{attribute}'. It has: {known}.")
        return getattr(module, attribute)

    digest = hashlib.sha256(source).hexdigest()
    return ForeignEncoder(id=f"{path.name}:{attribute}@sha256:{digest}", whose=whose, load=load)


def _module(path: Path, source: bytes) -> ModuleType:
    """Run a file as a module whose name no other has; the same file again is the same module."""
    digest = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()
    name = f"video_feature_llm_encoder_{digest[:32]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _ReadSource(name, str(path), source)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None  # there is a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _ReadSource(importlib.machinery.SourceFileLoader):
    """Runs the very bytes that were hashed: no newer file, and no older compiled one."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


def _installed(name: str) -> ForeignEncoder | None:
    instead = ", or load the file of the one you want: path/to/file.py:Name"
    part = find_installed(GROUP, "encoder", name, instead=instead)
    if part is None:
        return None
    return ForeignEncoder(
        id=f"{name}@{part.distribution}=={part.version}",
        whose=f"encoder '{name}' {part.whose}",
        load=part.entry_point.load,
    )
