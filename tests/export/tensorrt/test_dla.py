from __future__ import annotations

from types import SimpleNamespace

import pytest
from edgesr_export.tensorrt import dla_report
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.dla import DlaReport


def layer(name, kind, inputs, on_dla):
    return SimpleNamespace(
        name=name,
        type=SimpleNamespace(name=kind),
        num_inputs=len(inputs),
        num_outputs=1,
        get_input=[SimpleNamespace(name=i) for i in inputs].__getitem__,
        get_output=[SimpleNamespace(name=f"{name}.out")].__getitem__,
        on_dla=on_dla,
    )


def board(cores, layers):
    """A library on a machine with so many DLA cores, whose parser makes these layers."""

    class Config:
        can_run_on_DLA = staticmethod(lambda layer: layer.on_dla)  # noqa: N815
        default_device_type = None

    class Builder:
        num_DLA_cores = cores  # noqa: N815

        def __init__(self, logger):
            pass

        def create_network(self, flags):
            return SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)

        create_builder_config = Config

    return Api(
        SimpleNamespace(
            __name__="board",
            __version__="8.6",
            ILogger=object,
            Builder=Builder,
            IBuilderConfig=Config,
            BuilderFlag=SimpleNamespace(),
            NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=0),
            DeviceType=SimpleNamespace(DLA="DLA"),
            OnnxParser=lambda network, logger: SimpleNamespace(parse=lambda model: True),
        )
    )


def test_layers_and_transitions_are_counted(write):
    layers = [
        layer("weights", "CONSTANT", [], False),
        layer("head", "CONVOLUTION", ["x", "weights.out"], True),
        layer("norm", "NORMALIZATION", ["head.out"], False),
        layer("wide", "CONVOLUTION", ["norm.out"], True),
        layer("gate", "ELEMENTWISE", ["wide.out", "head.out"], True),
        layer("also", "SHUFFLE", ["head.out"], False),
    ]
    report = dla_report(write("y = Relu(x)"), api=board(2, layers))
    assert report.on_dla == ("head", "wide", "gate")
    assert report.on_gpu == ("norm", "also")
    assert report.transitions == 2  # head.out, once for both readers, and norm.out
    assert report.text() == (
        "DLA: 3 of 5 layers could run there, with 2 transitions to or from the GPU"
    )


def test_a_machine_without_dla_is_reported_as_such(write):
    report = dla_report(write("y = Relu(x)"), api=board(0, []))
    assert report == DlaReport(0, absent="this machine has no DLA core")
    assert report.text() == "DLA: this machine has no DLA core"


def test_a_library_without_dla_is_reported_as_such(write):
    api = board(2, [])
    api.module.IBuilderConfig = SimpleNamespace()
    assert dla_report(write("y = Relu(x)"), api=api).absent == "board 8.6 knows no DLA"


def test_the_real_library_answers(rtx, files):
    report = dla_report(files("grouped", "fp16"))
    if report.cores:
        pytest.skip("this machine has a DLA")
    assert report.absent
