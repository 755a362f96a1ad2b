"""From a float32 ONNX file to one of explicit int8 Q/DQ pairs, one scheme per target.

::

    x (f32) -- Conv -- ...        =>    x -- Q -- DQ --+
                                        w (int8) - DQ -+- Conv -- ...

NNCF finds ranges, weights and corrected biases on calibration tiles
(:mod:`edgesr_export.int8.calibrate`); the pairs are placed by ourselves
(:mod:`edgesr_export.int8.place`), because the two targets want others than NNCF leaves
(:mod:`edgesr_export.int8.scheme`). What stays float is decided layer by layer: by what it costs on
validation data (:mod:`edgesr_export.int8.control`) and, on a CPU, by what it saves
(:mod:`edgesr_export.int8.speed`). Needs the extra ``int8``; NNCF sends nothing (:mod:`.telemetry`).
"""

from edgesr_export.int8.quantise import Quality, Speed, quantize
from edgesr_export.int8.result import LayerPrecision, QuantisationResult, recorded_layers
from edgesr_export.int8.speed import GroupSpeed

__all__ = [
    "GroupSpeed",
    "LayerPrecision",
    "Quality",
    "QuantisationResult",
    "Speed",
    "quantize",
    "recorded_layers",
]
