"""What a user chooses about an encoder besides its name."""

from typing import Literal

from cache_schema.parsing import record

__all__ = ["ComputeDtype", "EncoderOptions", "Pooling", "Runtime"]

ComputeDtype = Literal["float32", "bfloat16", "float16"]
Pooling = Literal["default", "cls", "mean", "grid"]
Runtime = Literal["torch", "openvino"]


@record
class EncoderOptions:
    """How an encoder is placed and how its tokens become one row."""

    device: str = "auto"
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``."""
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: bfloat16 for transformers where the device has it in hardware, else float32."""
    pooling: Pooling = "default"
    """``cls``, ``mean`` of the patch tokens, ``grid`` (all of them), or the encoder's own."""
    runtime: Runtime = "torch"
    """What runs the network; ``openvino`` only on a CPU."""
    trust_remote_code: bool = False
    """Whether Python code that lies beside the weights may run."""
