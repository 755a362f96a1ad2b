"""What TensorRT 8.x is told; 8.x itself runs on boards alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from edgesr_export.tensorrt.api import Api
from edgesr_export.tensorrt.weakly_typed import constrain


class Config(list):
    set_flag = list.append


def network(*names):
    layers = [SimpleNamespace(name=name, precision=None) for name in names]
    return SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__), layers


def library(*flags):
    return Api(
        SimpleNamespace(
            BuilderFlag=SimpleNamespace(**{flag: flag for flag in flags}),
            float32="f32",
            float16="f16",
        )
    )


@pytest.mark.parametrize("obey", ["OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES"])
def test_half_layers_are_bound_and_kept_ones_stay_single(obey):
    config = Config()
    graph, layers = network("conv", "mean", "wide", "shuffle")
    asked = {"conv": "fp16", "wide": "fp32"}
    constrain(library("FP16", "INT8", obey), config, graph, asked, ["mean"])
    assert config == ["FP16", obey]
    assert [layer.precision for layer in layers] == ["f16", "f32", "f32", None]


def test_quantised_layers_are_left_to_their_pairs():
    config = Config()
    graph, layers = network("conv", "bicubic")
    constrain(library("FP16", "INT8"), config, graph, {"conv": "int8", "bicubic": "fp32"}, [])
    assert config == ["INT8"]
    assert [layer.precision for layer in layers] == [None, None]


def test_float32_alone_allows_nothing_lower():
    config = Config()
    graph, layers = network("conv")
    constrain(library("FP16", "INT8", "STRICT_TYPES"), config, graph, {"conv": "fp32"}, [])
    assert config == ["STRICT_TYPES"]
    assert layers[0].precision is None
