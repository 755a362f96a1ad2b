"""Torch-Pruning: channels of all layers by group magnitude, without training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.inputs import Inputs, export
from benchmarks.peers.peer import TORCH, Environment, Made, Peer, register

RATIOS = (0.125, 0.25, 0.375, 0.5)
"""Share of the channels that go."""


def pruned(inputs: Inputs, output: Path) -> Iterator[Made]:
    """As the README's first example has it, and without the grouped convolutions.

    Where those take part it fails: "INDICES element is out of DATA bounds".
    """
    import torch
    import torch_pruning as tp

    image = torch.from_numpy(inputs.calibration[:1])
    for ratio in RATIOS:
        network = inputs.network()
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
        grouped = [layer for layer in layers if 1 < layer.groups < layer.out_channels]
        pruner = tp.pruner.BasePruner(
            network, image, importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio, ignored_layers=[layers[-1], *grouped],
        )  # fmt: skip
        pruner.step()
        path = output / f"{ratio:g}.onnx"
        yield Made(f"ratio {ratio:g}", export(inputs, network, path))


register(
    Peer(
        "torch-pruning",
        "Torch-Pruning",
        "BasePruner(network, image, GroupMagnitudeImportance(p=2), pruning_ratio=r,"
        " ignored_layers=[last layer, *grouped convolutions, with which it fails]).step()",
        "https://github.com/VainF/Torch-Pruning#quickstart",
        pruned,
        Environment("pruning", ("torch-pruning==1.6.1", *TORCH)),
    )
)
