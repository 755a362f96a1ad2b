"""TensorRT engines from typed ONNX files: build, check, run.

:func:`build` makes an engine and a JSON side file; :func:`check_engine` says whether an engine
still belongs to its network, this GPU and this TensorRT; :class:`Runner` executes it;
:func:`dla_report` says what a deep-learning accelerator could take over. ``tensorrt`` (8.5 to
11.x) and ``tensorrt_rtx`` serve alike: what they can do is asked of them, never concluded from
their version. TensorRT itself is imported when it is first needed.
"""

from edgesr_export.tensorrt.api import available
from edgesr_export.tensorrt.builder import BuildResult, Settings, build
from edgesr_export.tensorrt.dla import DlaReport, dla_report
from edgesr_export.tensorrt.inspector import PrecisionError
from edgesr_export.tensorrt.profile import Range, tile_profile
from edgesr_export.tensorrt.refusal import UnsupportedOperatorError
from edgesr_export.tensorrt.runner import Runner
from edgesr_export.tensorrt.sidecar import StaleEngineError, check_engine, side_path

__all__ = [
    "BuildResult",
    "DlaReport",
    "PrecisionError",
    "Range",
    "Runner",
    "Settings",
    "StaleEngineError",
    "UnsupportedOperatorError",
    "available",
    "build",
    "check_engine",
    "dla_report",
    "side_path",
    "tile_profile",
]
