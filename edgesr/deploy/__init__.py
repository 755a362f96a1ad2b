"""From the student's ONNX file to what users deploy: a model for each target and precision.

::

    model.onnx --+-- cpu       -- fp32, fp16, int8 --+
                 +-- tensorrt  -- fp32, fp16, int8 --+-- quality on test, size, difference, latency
                 +-- openvino  -- fp32, int8       --+
                 +-- ... of edgesr_export.targets --+
                        |
                        +-- engines

What cannot be made here is listed with its reason; nothing is guessed.
"""

from edgesr.deploy.baselines import PLAIN, REWRITTEN, export_baselines, open_baselines
from edgesr.deploy.engines import Engine, build_engines
from edgesr.deploy.measure import Conditions, Truth, measure_models, ratios, timed_name
from edgesr.deploy.quality import calibration_tiles, on_budget, reference_tiles
from edgesr.deploy.variants import Limits, Model, Skipped, VariantBuilder

__all__ = [
    "PLAIN",
    "REWRITTEN",
    "Conditions",
    "Engine",
    "Limits",
    "Model",
    "Skipped",
    "Truth",
    "VariantBuilder",
    "build_engines",
    "calibration_tiles",
    "export_baselines",
    "measure_models",
    "on_budget",
    "open_baselines",
    "ratios",
    "reference_tiles",
    "timed_name",
]
