"""Where the time of a network goes, layer by layer, told by the profiler of whatever runs it.

=============  ====================================================  ==========================
runtime        what tells                                            asked by
=============  ====================================================  ==========================
ONNX Runtime   its profiler                                          :mod:`.ort`
OpenVINO       its performance counters                              :mod:`.openvino`
TensorRT       ``IProfiler``                                         :mod:`.tensorrt`
torch          ``torch.profiler``                                    :mod:`.torch`
=============  ====================================================  ==========================

Each gives the same :class:`Profiled`: milliseconds of every layer that the runtime executes after
its own fusions, with the ONNX nodes and the modules of the network that went into it
(:mod:`.source`), beside the whole call, which is timed without the profiler. A target says which of
them profiles its files (:meth:`edgesr_export.targets.Target.profile`).
"""

from edgesr_export.profile.layers import RUNS, LayerTime, Profiled
from edgesr_export.profile.operators import profile, table

__all__ = ["RUNS", "LayerTime", "Profiled", "profile", "table"]
