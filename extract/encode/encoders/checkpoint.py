"""Reading a transformers checkpoint: config, preprocessing and weights, from a hub id or folder.

Data in -> out: name -> ``Checkpoint``. Everything that can go wrong on the way to the hub or in
the folder becomes one ``ConfigError``.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from cache_schema.errors import ConfigError
from cache_schema.progress_bars import no_progress_bars
from cache_schema.recipe import PreprocessRecipe
from extract.encode.encoders.options import EncoderOptions
from extract.encode.encoders.preprocessor_config import parse_preprocessor_config

__all__ = ["Checkpoint", "encoder_id", "load_weights", "read_config", "read_preprocess"]

_LOADING_ERRORS = (OSError, ValueError, RuntimeError, ImportError, SafetensorError)
"""What from_pretrained raises for an unreachable hub, unknown types, broken or missing files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A network read from a checkpoint, in float32 on the CPU."""

    id: str
    network: nn.Module
    config: Any
    """The transformers configuration of this network."""
    preprocess: PreprocessRecipe


def encoder_id(name: str) -> str:
    """Return the id a recipe carries: the hub id, or the last part of a folder's path."""
    folder = Path(name)
    return folder.resolve().name if folder.is_dir() else name


def read_config(name: str, options: EncoderOptions) -> Any:  # noqa: ANN401  # untyped library
    """Return the checkpoint's transformers configuration.

    Raises:
        ConfigError: if there is none, its type is unknown, or the hub cannot be reached.
    """
    with _loading(name, "config.json"):
        return AutoConfig.from_pretrained(name, trust_remote_code=options.trust_remote_code)


def read_preprocess(name: str, files: Sequence[tuple[str, str | None]]) -> PreprocessRecipe:
    """Return the preprocessing of the first of ``files`` that the checkpoint has.

    Args:
        name: Hub id or folder.
        files: File name, and the key its settings lie under (None: the whole file).

    Raises:
        ConfigError: if there is none of them, or it asks for something unsupported.
    """
    for file_name, key in files:
        settings = _read_json(name, file_name)
        if key is not None:
            settings = (settings or {}).get(key)
        if settings:
            return parse_preprocessor_config(settings, f"{encoder_id(name)}/{file_name}")
    raise ConfigError(
        f"encoder '{name}': none of {', '.join(file for file, _ in files)} says how frames are "
        "resized and normalized. Put the model's preprocessor_config.json beside its weights."
    )


def load_weights(name: str, config: Any, options: EncoderOptions) -> nn.Module:  # noqa: ANN401
    """Load the network of ``config`` in float32, checked for completeness.

    A pooler (a layer behind the last hidden state) that the checkpoint has no weights for is
    removed: transformers would fill it with random numbers.

    Raises:
        ConfigError: if weights are missing or broken, or there is no such network.
    """
    with _loading(name, "the weights"):
        network, report = AutoModel.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            weights_only=True,
            output_loading_info=True,
            trust_remote_code=options.trust_remote_code,
        )
    missing = sorted(report["missing_keys"])
    others = [key for key in missing if not key.startswith("pooler.")]
    if others:
        raise ConfigError(
            f"encoder '{name}': the checkpoint lacks {len(others)} weights of "
            f"{type(network).__name__}, first '{others[0]}'; features would be partly random."
        )
    if missing:
        network.pooler = None
    module: nn.Module = network.eval()
    return module


def _read_json(name: str, file_name: str) -> dict[str, Any] | None:
    with _loading(name, file_name):
        path = cached_file(name, file_name, _raise_exceptions_for_missing_entries=False)
        if path is None:
            return None
        # A JSON syntax error is a ValueError, so it is translated like the rest.
        settings: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return settings


@contextmanager
def _loading(name: str, what: str) -> Iterator[None]:
    """Translate transformers' errors into ours."""
    try:
        with _quiet():
            yield
    except _LOADING_ERRORS as error:
        tried = "folder" if Path(name).is_dir() else "hub id or its copy in the local cache"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"encoder '{name}': {what} cannot be loaded from this {tried}: {reason} "
            "Give a folder with config.json, weights and preprocessor_config.json instead."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' load report and all libraries' bars off the console for a while."""
    log: Any = transformers_logging  # untyped library
    verbosity = log.get_verbosity()
    log.set_verbosity_error()
    try:
        with no_progress_bars():
            yield
    finally:
        log.set_verbosity(verbosity)
