"""What a DLA (deep-learning accelerator of a Jetson) could take over, and what would cross.

DLA has no DepthToSpace, LayerNormalization, GELU or cubic Resize, and not every TensorRT has DLA:
this is a report and no promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesr_export.model_file import load_model
from edgesr_export.tensorrt.api import Api, find_api
from edgesr_export.tensorrt.messages import logger, record
from edgesr_export.tensorrt.refusal import parser_error
from edgesr_export.tensorrt.requested import name_nodes

_NO_WORK = ("CONSTANT", "SHAPE")
"""Kinds of layers that stand for values known beforehand."""


@dataclass(frozen=True)
class DlaReport:
    """Which layers could run on a DLA.

    Attributes:
        cores: DLA cores of this machine.
        on_dla, on_gpu: names of the layers, in order.
        transitions: tensors that would pass between DLA and GPU, each of which is a copy.
        absent: why there is no report; empty where there is one.
    """

    cores: int
    on_dla: tuple[str, ...] = ()
    on_gpu: tuple[str, ...] = ()
    transitions: int = 0
    absent: str = ""

    def text(self) -> str:
        """One line for a person."""
        if self.absent:
            return f"DLA: {self.absent}"
        layers = len(self.on_dla) + len(self.on_gpu)
        return (
            f"DLA: {len(self.on_dla)} of {layers} layers could run there, with "
            f"{self.transitions} transitions to or from the GPU"
        )


def dla_report(onnx_path: Path | str, *, api: Api | None = None) -> DlaReport:
    """Ask TensorRT, layer by layer, what could run on the DLA of this machine.

    Args:
        onnx_path: network, in float16 or explicit Q/DQ: DLA has no float32.
        api: TensorRT to ask; by default the first that is here.

    Raises:
        ExportError: no TensorRT, or a file that it does not take.
    """
    api = api or find_api()
    module = api.module
    config_type = module.IBuilderConfig
    if not all(hasattr(config_type, name) for name in ("can_run_on_DLA", "default_device_type")):
        return DlaReport(0, absent=f"{api.name} {api.version} knows no DLA")
    model = load_model(onnx_path)
    name_nodes(model)
    with record(api):
        builder = module.Builder(logger(api))
        cores = int(getattr(builder, "num_DLA_cores", 0))
        if cores < 1:
            return DlaReport(0, absent="this machine has no DLA core")
        network = builder.create_network(api.network_flags)
        parser = module.OnnxParser(network, logger(api))
        if not parser.parse(model.SerializeToString()):
            raise parser_error(parser, model)
        config = builder.create_builder_config()
        for name in ("FP16", "INT8"):  # where types are hints, DLA needs leave to use its own
            if api.builder_flag(name) is not None and not api.strongly_typed:
                config.set_flag(api.builder_flag(name))
        config.default_device_type = module.DeviceType.DLA
        config.DLA_core = 0
        return _report(cores, network, config)


def _report(cores: int, network: Any, config: Any) -> DlaReport:
    on_dla: list[str] = []
    on_gpu: list[str] = []
    made_on_dla: dict[str, bool] = {}
    crossing = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name in _NO_WORK:
            continue
        here = bool(config.can_run_on_DLA(layer))
        (on_dla if here else on_gpu).append(layer.name)
        for entering in filter(None, map(layer.get_input, range(layer.num_inputs))):
            if made_on_dla.get(entering.name, here) != here:
                crossing.add(entering.name)
        made_on_dla.update((layer.get_output(i).name, here) for i in range(layer.num_outputs))
    return DlaReport(cores, tuple(on_dla), tuple(on_gpu), len(crossing))
