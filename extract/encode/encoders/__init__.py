"""Encoders by name: built-in ones, those of others, local folders and hub ids.

Imports neither torch nor transformers; ``load_encoder`` imports only the module it needs.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cache_schema.errors import ConfigError
from cache_schema.parsing import nearest
from cache_schema.plugins import installed_names
from extract.encode.encoders.foreign import GROUP, file_of, find_foreign
from extract.encode.encoders.options import EncoderOptions

if TYPE_CHECKING:
    from extract.encode.encoders.base import Encoder

__all__ = ["ENCODERS", "EncoderOptions", "absolute_name", "is_here", "load_encoder"]

ENCODERS = {
    "efficientnet_lite0": "extract.encode.encoders.efficientnet:EfficientNetLite0",
    "fake": "extract.encode.encoders.fake:FakeEncoder",
}
"""Name of each built-in encoder and where it is made: a callable of ``EncoderOptions``."""

_FOR_TESTS = "fake"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def load_encoder(name: str, options: EncoderOptions) -> "Encoder":
    """Load the encoder called ``name`` onto its device.

    Args:
        name: A key of ``ENCODERS``, else ``path/to/file.py:Name``, else the name of an encoder that
            an installed package offers, else an existing folder with a transformers checkpoint,
            else a hub id ``owner/name``.
        options: Device, dtype, pooling and runtime.

    Raises:
        ConfigError: if there is no such encoder, or the options do not fit it.
    """
    if options.runtime != "torch":
        openvino = import_module("extract.encode.encoders.openvino_encoder")
        faster: Encoder = openvino.load_in_openvino(name, options, _load)
        return faster
    return _load(name, options)


def _load(name: str, options: EncoderOptions) -> "Encoder":
    if name in ENCODERS:
        module, _, attribute = ENCODERS[name].partition(":")
        return _graphed(getattr(import_module(module), attribute)(options))
    if (foreign := find_foreign(name)) is not None:
        checked = import_module("extract.encode.encoders.checked")
        theirs: Encoder = checked.load_foreign(foreign, options)
        return theirs
    if Path(name).is_dir() or _HUB_ID.fullmatch(name):
        pretrained = import_module("extract.encode.encoders.pretrained")
        return _graphed(pretrained.load_pretrained(name, options))
    known = [*(one for one in ENCODERS if one != _FOR_TESTS), *installed_names(GROUP)]
    raise ConfigError(
        f"encoder '{name}': neither a built-in or installed encoder nor an existing folder nor a "
        f"hub id. {nearest(name, known)} A hub id looks like "
        "openai/clip-vit-base-patch32; a folder holds config.json, weights and "
        "preprocessor_config.json; an encoder in a file is ./file.py:Name."
    )


def _graphed(encoder: "Encoder") -> "Encoder":
    """Have a GPU work by graphs; not for encoders of others, whose Python may do more each time."""
    cuda_graph = import_module("extract.encode.encoders.cuda_graph")
    made: Encoder = cuda_graph.graphed(encoder)
    return made


def is_here(name: str) -> bool:
    """Tell whether there is something to load by a name; of a hub id only loading it tells.

    Raises:
        ConfigError: if two installed packages offer an encoder of this name.
    """
    if (file := file_of(name)) is not None:
        return file[0].is_file()
    is_known = name in ENCODERS or Path(name).is_dir() or _HUB_ID.fullmatch(name) is not None
    return is_known or find_foreign(name) is not None


def absolute_name(name: str) -> str:
    """Return a name that means the same encoder in every folder: for other processes, and later."""
    if (file := file_of(name)) is not None:
        return f"{file[0].absolute()}:{file[1]}"
    # A folder is what a name means last, see load_encoder.
    if name in ENCODERS or find_foreign(name) is not None or not Path(name).is_dir():
        return name
    return str(Path(name).absolute())
