"""A network in torch -> the same for OpenVINO, exported once and kept in the user's cache folder.

Shapes: F frames per window, C, H, W network input.
"""

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from cache_schema.errors import ConfigError
from cache_schema.parsing import to_json, to_mapping
from cache_schema.user_cache import user_cache_folder
from extract.encode.encoders.base import Exportable
from extract.encode.encoders.openvino_quiet import (
    FrontEndManager,
    TorchScriptPythonDecoder,
    openvino,
)
from extract.encode.encoders.software import source_digest, versions
from extract.encode.preprocess import network_size

__all__ = ["exported"]

_FILE = "network.xml"


def _window_shape(encoder: Exportable) -> tuple[int, ...]:
    """Return (F, C, H, W)."""
    return (encoder.frames_per_window, 3, *network_size(encoder.preprocess))


def exported(encoder: Exportable, core: openvino.Core, *, anew: bool = False) -> openvino.Model:
    """Return the network for any number of windows, with float32 weights.

    Args:
        encoder: On the CPU, its network in float32.
        core: Reads what was exported before.
        anew: Whether to pass over what was exported before.

    Raises:
        ConfigError: if OpenVINO cannot take the network over.
    """
    model = None
    with suppress(OSError, RuntimeError):  # no home, or nothing may be written there
        folder = _folder(encoder)
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        if not (folder / _FILE).exists():
            model = _convert(encoder)
            _keep(model, folder)
        return core.read_model(folder / _FILE)
    return model or _convert(encoder)


def _folder(encoder: Exportable) -> Path:
    """Return where an export lies: another one for everything that it follows from."""
    network = to_mapping(encoder.recipe) | {"shape": _window_shape(encoder)}
    network.pop("compute_dtype")  # what is exported is float32, whatever it is run in
    software = {"versions": versions(), "source": source_digest()}
    whole = {"network": network, "definition": encoder.definition, "software": software}
    return user_cache_folder() / "openvino" / f"{_digest(network)}-{_digest(whole)}"


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(to_json(facts).encode()).hexdigest()[:16]


def _keep(model: openvino.Model, folder: Path) -> None:
    """Write an export, and take away those of the same network by other software."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = folder.parent.glob(f"{folder.name.partition('-')[0]}-*")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        partial = Path(temporary) / folder.name
        openvino.save_model(model, partial / _FILE, compress_to_fp16=False)
        with suppress(OSError):  # another process was faster
            partial.rename(folder)
    for old in before:
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


class _Rows(nn.Module):
    """What is exported: ``encode``, with the weights where tracing looks for them."""

    def __init__(self, encoder: Exportable) -> None:
        super().__init__()
        self.network = encoder.network
        self._encode = encoder.encode

    def forward(self, pixels_BFCHW: Tensor) -> Tensor:
        return self._encode(pixels_BFCHW)


def _convert(encoder: Exportable) -> openvino.Model:
    """Trace the network."""
    shape = _window_shape(encoder)
    with _refusals(encoder.recipe.id):
        example = torch.zeros((2, *shape))  # of two: a batch of one would hide broadcasts
        decoder = TorchScriptPythonDecoder(_Rows(encoder).eval(), example_input=example)
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
        model.reshape([-1, *shape])
    return model


@contextmanager
def _refusals(encoder_id: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():  # of tracing: the check against torch is what counts
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # networks are code of others, and so are the errors
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"encoder '{encoder_id}': OpenVINO cannot take this network over: {reason} "
            "Leave --runtime out: torch runs it."
        ) from error
