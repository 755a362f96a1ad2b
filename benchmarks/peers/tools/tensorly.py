"""tensorly-torch: its factorised convolutions, decomposed from the trained ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.peers.inputs import Inputs, export
from benchmarks.peers.peer import TORCH, Environment, Made, Peer, register

PACKAGES = ("tensorly-torch==0.5.0", "tensorly>=0.9", "opt-einsum", "packaging", *TORCH)
"""It declares none of what it needs."""

RANKS = (0.03, 0.06, 0.125, 0.25, 0.5)
"""Share of the parameters that a factorised layer has."""


def factorised(inputs: Inputs, output: Path, *, factorization: str) -> Iterator[Made]:
    """The dense convolutions with more than one tap: head and upsampler."""
    import numpy as np
    import tensorly as tl
    import tltorch
    from torch import nn

    tl.tenalg.set_backend("einsum")  # CP with the default takes half an hour, to the same numbers
    np.random.seed(0)  # where a rank exceeds a side, CP begins with random columns
    for rank in RANKS:
        network = inputs.network()
        for name, layer in list(network.named_modules()):
            dense = isinstance(layer, nn.Conv2d) and layer.groups == 1
            if dense and layer.kernel_size != (1, 1):
                small = tltorch.FactorizedConv.from_conv(
                    layer, rank=rank, factorization=factorization, implementation="factorized"
                )
                network.set_submodule(name, small)
        path = output / f"{factorization}-{rank:g}.onnx"
        yield Made(f"rank {rank:g}", export(inputs, network, path))


for factorization in ("tucker", "cp"):
    register(
        Peer(
            f"tensorly-{factorization}",
            f"tensorly-torch, {factorization}",
            f'FactorizedConv.from_conv(conv, rank=r, factorization="{factorization}",'
            ' implementation="factorized") of each dense 3 x 3 convolution, after'
            ' tensorly.tenalg.set_backend("einsum")',
            "https://tensorly.org/torch/dev/modules/generated/tltorch.factorized_layers.FactorizedConv.html",
            partial(factorised, factorization=factorization),
            Environment("tensorly", PACKAGES),
        )
    )
