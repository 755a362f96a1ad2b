"""ncnn, from torch by its converter pnnx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import TORCH, Call, Environment, Made, Peer, register

if TYPE_CHECKING:
    import numpy as np

FILES = ("network.ncnn.param", "network.ncnn.bin")
"""Layers and weights."""


def converted(inputs: Inputs, output: Path) -> Iterator[Made]:
    """Two sizes are shown to the converter, so that height and width stay free.

    Yields:
        A folder of the two files that ncnn takes, layers and weights: both count.
    """
    import pnnx
    import torch

    bands = inputs.facts["bands"]
    pnnx.export(
        inputs.network(), str(output / "network.pt"), (torch.rand(1, bands, 16, 16),),
        (torch.rand(1, bands, 24, 20),),
    )  # fmt: skip
    folder = output / "network"
    folder.mkdir()
    for name in FILES:
        if not (output / name).is_file():
            raise RuntimeError(f"pnnx wrote no {name}")
        (output / name).rename(folder / name)
    yield Made("", folder)


def opened(file: Path, threads: int) -> Call:
    """With the options that ncnn has by itself."""
    import ncnn
    import numpy as np

    net = ncnn.Net()
    net.opt.num_threads = threads
    layers, weights = (str(file / name) for name in FILES)
    if net.load_param(layers) or net.load_model(weights):
        raise RuntimeError("ncnn cannot load the file")

    def call(image: np.ndarray) -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(np.ascontiguousarray(image[0])))
            code, found = extractor.extract("out0")
            if code:
                raise RuntimeError(f"ncnn ended with code {code}")
            return np.array(found)[None]

    return call


register(
    Peer(
        "ncnn",
        "ncnn",
        "pnnx.export(network, file, image, another image), default options (weights in FP16)",
        "https://github.com/Tencent/ncnn/wiki/use-ncnn-with-pytorch-or-onnx",
        converted,
        Environment("ncnn", ("ncnn==1.0.20261020", "pnnx==20261020", *TORCH)),
        open=opened,
        runtimes=("ncnn",),
    )
)
