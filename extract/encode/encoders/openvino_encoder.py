"""An encoder whose network OpenVINO runs: faster on a CPU, other last bits than torch.

Each batch is worked on by one thread, several side by side, so rows do not depend on cores.

Shapes: B windows, F frames per window, C, H, W network input.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cache_schema.errors import ConfigError
from extract.encode.encoders.base import Encoder, Exportable
from extract.encode.encoders.options import EncoderOptions
from extract.encode.encoders.placement import choose_device

if TYPE_CHECKING:
    from extract.encode.encoders.openvino_export import Exported

__all__ = ["BOUNDS", "OpenVinoEncoder", "load_in_openvino"]

BOUNDS = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}
"""How far a row may be from that of torch in float32, as a part of its length. Seen: 3e-6 in
float32, 0.03 in bfloat16 (torch's own bfloat16: the same)."""

USUAL_BATCH = 8
"""Windows of the batches that are prepared when an image network is loaded."""

MOST_STREAMS = 8
"""Batches side by side, at most; a stream that nobody uses costs nothing."""

_PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def load_in_openvino(
    name: str, options: EncoderOptions, load: Callable[[str, EncoderOptions], Encoder]
) -> "OpenVinoEncoder":
    """Load an encoder in torch, and hand its network over.

    Args:
        name: Of the encoder.
        options: With a runtime other than torch.
        load: Loads it in torch.

    Raises:
        ConfigError: if OpenVINO is not installed, the device is no CPU, or the encoder cannot be
            handed over.
    """
    if find_spec("openvino") is None:
        raise ConfigError(
            "runtime 'openvino': the package is not installed. Get it with pip install "
            "'video-feature-llm[fast]', or use --runtime torch where the store has no such rows."
        )
    if options.device != "auto" and choose_device(options.device).type != "cpu":
        raise ConfigError(
            f"runtime 'openvino': runs on a CPU, and device is '{options.device}'. "
            "Use --device cpu, or --runtime torch."
        )
    encoder = load(name, replace(options, device="cpu"))
    if not isinstance(encoder, Exportable):
        raise ConfigError(
            f"encoder '{encoder.recipe.id}': is code of others, which only torch runs. "
            "Leave --runtime out."
        )
    return OpenVinoEncoder(encoder)


class OpenVinoEncoder:
    """The rows of another encoder, by OpenVINO."""

    def __init__(self, encoder: Exportable) -> None:
        """Export the network, or read what was exported before, and check it against torch.

        Args:
            encoder: On the CPU, its network in float32; is not kept.

        Raises:
            ConfigError: if the network cannot be exported, makes other rows than in torch, or the
                processor lacks the compute dtype.
        """
        # Here, because who has no such rows need not have it.
        from extract.encode.encoders.openvino_export import exported, noise
        from extract.encode.encoders.openvino_quiet import the_core

        self.recipe = replace(encoder.recipe, runtime="openvino")
        self.preprocess = encoder.preprocess
        self.row_shape = encoder.row_shape
        self.frames_per_window = encoder.frames_per_window
        self.device = encoder.device
        self._noise_BFCHW = noise(encoder)
        self._lock = threading.Lock()
        self._core = the_core()
        try:
            self._take(exported(encoder, self._core))
        except ConfigError:  # the file of an earlier export may be damaged
            self._take(exported(encoder, self._core, anew=True))

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return float32 (B, *row_shape); threads may call it side by side.

        Raises:
            ValueError: if windows have another shape than the network's.
        """
        expected = self._noise_BFCHW.shape[1:]
        if pixels_BFCHW.shape[1:] != expected:
            raise ValueError(
                f"pixels have shape {tuple(pixels_BFCHW.shape)}, expected "
                f"(B, {', '.join(map(str, expected))})"
            )
        pixels = pixels_BFCHW.float().contiguous().numpy()
        made = self._request(len(pixels)).infer([pixels], share_inputs=True)[0]
        return torch.from_numpy(made.copy())  # the next batch of this thread comes into its place

    def _take(self, export: "Exported") -> None:
        self._model = export.model
        self._compiled: dict[int, Any] = {}
        self._lanes = threading.local()
        # Eight windows of a video network take many seconds, and one shows as much.
        size = USUAL_BATCH if self.frames_per_window == 1 else 1
        self._compiled[size] = self._compile(size)
        self._check(self._compiled[size], export.rows)

    def _request(self, batch_size: int) -> Any:  # noqa: ANN401  # untyped library
        """Return this thread's for batches of a size: it does one at a time."""
        requests: dict[int, Any] = self._lanes.__dict__.setdefault("requests", {})
        if batch_size not in requests:
            with self._lock:
                if batch_size not in self._compiled:
                    self._compiled[batch_size] = self._compile(batch_size)
            requests[batch_size] = self._compiled[batch_size].create_infer_request()
        return requests[batch_size]

    def _compile(self, batch_size: int) -> Any:  # noqa: ANN401  # untyped library
        model = self._model.clone()
        model.reshape([batch_size, *self._noise_BFCHW.shape[1:]])
        num_streams = max(1, min(MOST_STREAMS, torch.get_num_threads()))
        dtype = self.recipe.compute_dtype
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype],
            # One thread for each stream: as torch, it may sum in another order on two.
            "NUM_STREAMS": num_streams,
            "INFERENCE_NUM_THREADS": num_streams,
            "ENABLE_CPU_PINNING": False,
        }
        compiled = self._core.compile_model(model, "CPU", settings)
        does = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if does != _PRECISIONS[dtype]:
            raise ConfigError(
                f"encoder '{self.recipe.id}': OpenVINO computes in {does} on this processor, not "
                f"in {dtype}. Use --compute-dtype float32, or --runtime torch."
            )
        return compiled

    def _check(self, compiled: Any, expected: Tensor) -> None:  # noqa: ANN401  # untyped library
        """Raise unless rows of some noise are torch's."""
        batch_size = compiled.inputs[0].shape[0]
        noise = self._noise_BFCHW.expand(batch_size, *self._noise_BFCHW.shape[1:])
        rows = torch.from_numpy(compiled.create_infer_request().infer([noise.numpy()])[0])
        distances = (rows - expected).flatten(1).norm(dim=1)
        distance = float(distances.max() / expected.norm())
        bound = BOUNDS[self.recipe.compute_dtype]
        if not distance <= bound:
            raise ConfigError(
                f"encoder '{self.recipe.id}': its rows by OpenVINO are {distance:.1e} of their "
                f"length away from those by torch, at most {bound:.0e} is allowed. "
                "Leave --runtime out."
            )
