"""OpenVINO without its telemetry: importing it tells Google Analytics so, unless told not to."""

import sys

# For Python a module that cannot be imported; OpenVINO then does without it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

__all__ = ["FrontEndManager", "TorchScriptPythonDecoder", "openvino"]
