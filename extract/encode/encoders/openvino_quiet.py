"""OpenVINO without its telemetry: importing it tells Google Analytics so, unless told not to."""

import sys
from functools import cache

# For Python a module that cannot be imported; OpenVINO then does without it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

__all__ = ["FrontEndManager", "TorchScriptPythonDecoder", "openvino", "the_core"]


@cache
def the_core() -> openvino.Core:
    """Return the one core of this process, which lives as long.

    Each core gives the thread a stack for signal handlers, and takes it away with itself. Of two
    that do not go in the reverse of the order in which they came, the second puts back the stack of
    the first, which is gone: the next signal, such as Ctrl-C, then takes the process down.
    """
    return openvino.Core()
