"""A network in torch -> the same for OpenVINO, exported once and kept in the user's cache folder.

Beside it lies what torch made of a window of noise, to check it by whenever it is used.

Shapes: B windows, F frames per window, C, H, W network input.
"""

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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

__all__ = ["Exported", "exported", "noise"]

_FILE = "network.xml"
_ROWS = "rows.npy"


@dataclass(frozen=True)
class Exported:
    """A network for OpenVINO, and what to check it by."""

    model: openvino.Model
    """For any number of windows, with float32 weights."""
    rows: Tensor
    """Those of ``noise`` by torch in float32."""


def noise(encoder: Exportable) -> Tensor:
    """Return the window (1, F, C, H, W) that networks are checked with."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((1, *_window_shape(encoder)), generator=generator)


def _window_shape(encoder: Exportable) -> tuple[int, ...]:
    """Return (F, C, H, W)."""
    return (encoder.frames_per_window, 3, *network_size(encoder.preprocess))


def exported(encoder: Exportable, core: openvino.Core, *, anew: bool = False) -> Exported:
    """Return an encoder's network.

    Args:
        encoder: On the CPU, its network in float32.
        core: Reads what was exported before.
        anew: Whether to pass over what was exported before.

    Raises:
        ConfigError: if OpenVINO cannot take the network over, or what was kept is damaged.
    """
    made = None
    with suppress(OSError, RuntimeError):  # no home, or nothing may be written there
        folder = _folder(encoder)
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        if not (folder / _FILE).exists():
            made = _convert(encoder)
            _keep(made, folder)
        return _read(folder, core)
    return made or _convert(encoder)


def _read(folder: Path, core: openvino.Core) -> Exported:
    try:
        rows = torch.from_numpy(np.load(folder / _ROWS))
        return Exported(core.read_model(folder / _FILE), rows)
    except (RuntimeError, ValueError, EOFError) as error:
        raise ConfigError(f"{folder}: is damaged ({error}). Remove it.") from error


def _folder(encoder: Exportable) -> Path:
    """Return where an export lies: another one for everything that it follows from."""
    network = to_mapping(encoder.recipe) | {"shape": _window_shape(encoder)}
    network.pop("compute_dtype")  # what is exported is float32, whatever it is run in
    software = {"versions": versions(), "source": source_digest()}
    whole = {"network": network, "definition": encoder.definition, "software": software}
    return user_cache_folder() / "openvino" / f"{_digest(network)}-{_digest(whole)}"


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(to_json(facts).encode()).hexdigest()[:16]


def _keep(made: Exported, folder: Path) -> None:
    """Write an export, and take away those of the same network by other software."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = folder.parent.glob(f"{folder.name.partition('-')[0]}-*")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        partial = Path(temporary) / folder.name
        openvino.save_model(made.model, partial / _FILE, compress_to_fp16=False)
        np.save(partial / _ROWS, made.rows.numpy())
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


def _convert(encoder: Exportable) -> Exported:
    """Trace the network."""
    shape = _window_shape(encoder)
    rows = encoder.encode(noise(encoder))
    with _refusals(encoder.recipe.id):
        example = torch.zeros((2, *shape))  # of two: a batch of one would hide broadcasts
        decoder = TorchScriptPythonDecoder(_Rows(encoder).eval(), example_input=example)
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
        model.reshape([-1, *shape])
    return Exported(model, rows)


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
