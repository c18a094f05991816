"""A run as files that other programs read: the LLM with its adapter merged in, and the rest.

llm/                    a folder that transformers loads: config, weights, tokenizer if any
video.safetensors       translator, learned tokens and heads
run.json, labels.json, knowledge.json, README.md    as in the checkpoint
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.progress_bars import no_progress_bars
from train.model.llm import LanguageModel
from train.model.text import load_tokenizer
from train.model.trained_weights import trained_weights
from train.predict.trained_run import load_trained_run

__all__ = ["export_run"]

FILES = ("run.json", "labels.json", "knowledge.json", "README.md")


def export_run(run: Path, out: Path) -> Path:
    """Write the best checkpoint of a run with its adapter merged into the LLM.

    Args:
        run: Folder of the run.
        out: Folder to make.

    Returns:
        The folder of the LLM.

    Raises:
        CheckpointError: if the run holds no checkpoint, or its tuning has nothing to merge into.
        ConfigError: if ``out`` is there already.
    """
    if out.exists():
        raise ConfigError(f"{out}: is there already. Name a new folder with --out.")
    trained = load_trained_run(run, torch.device("cpu"))
    model = trained.model
    if not isinstance(model.llm, LanguageModel):
        raise CheckpointError(f"{run}: was trained without an LLM, so there is nothing to merge.")
    own = {
        name: value.contiguous()
        for name, value in trained_weights(model).model.items()
        if not name.startswith("llm.")
    }
    stack = _merged(model.llm, run)
    out.mkdir(parents=True)
    with no_progress_bars():
        stack.save_pretrained(out / "llm")
        _copy_tokenizer(model.llm, out / "llm")
    save_file(own, out / "video.safetensors")
    for name in FILES:
        shutil.copy(trained.where / name, out / name)
    return out / "llm"


def _merged(llm: LanguageModel, run: Path) -> Any:  # noqa: ANN401 - transformers has no types
    """Return the stack with what was trained in its own weights."""
    if llm.tuning.num_virtual_tokens:
        raise CheckpointError(
            f"{run}: its tuning, {llm.tuning.kind}:{llm.tuning.size}, adds learned tokens, which "
            "no weight of the LLM can hold. Use the checkpoint's adapter with peft instead."
        )
    network: Any = llm.network
    return network.merge_and_unload() if llm.tuning.kind == "lora" else network


def _copy_tokenizer(llm: LanguageModel, folder: Path) -> None:
    try:
        load_tokenizer(llm.identity.name).save_pretrained(folder)
    except ConfigError:
        return  # an LLM for features only may have none
