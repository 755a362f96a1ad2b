"""What every tool is given, as files: the network, calibration tiles, budget blocks.

``network.onnx`` is the plain export of torch. In torch the network is built from
:mod:`edgesr.models`, which needs nothing but torch and lies on the path of every environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

FACTS, NETWORK, WEIGHTS, DATA = "facts.json", "network.onnx", "network.safetensors", "data.npz"
OPSET = 17
"""Of what torch exports in a tool's environment: the first one with LayerNormalization."""


@dataclass(frozen=True)
class Block:
    """A budget block: what it is seen with [B, h, w], the truth [B, H, W], and where it lies."""

    lr: np.ndarray
    hr: np.ndarray
    place: tuple[slice, slice]


@dataclass(frozen=True)
class Inputs:
    """The folder of them, read as they are asked for."""

    folder: Path

    @property
    def onnx(self) -> Path:
        """The network as torch exports it: batch, height and width free."""
        return self.folder / NETWORK

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Name and options of the network, its bands, its scale, and finished runs of edgesr."""
        found: dict[str, Any] = json.loads((self.folder / FACTS).read_text("utf-8"))
        return found

    @cached_property
    def _data(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / DATA) as data:
            return dict(data)

    @property
    def calibration(self) -> np.ndarray:
        """LR tiles [N, B, h, w] of the training pixels."""
        return self._data["calibration"]

    @property
    def budget(self) -> list[Block]:
        """Blocks that a drop is held against."""
        data = self._data
        found = []
        for number in range(sum(name.startswith("hr") for name in data)):
            rows, columns = (slice(*ends) for ends in data[f"at{number}"].tolist())
            found.append(Block(data[f"lr{number}"], data[f"hr{number}"], (rows, columns)))
        return found

    def network(self) -> nn.Module:
        """The network in torch, in evaluation mode."""
        from safetensors.torch import load_file

        from edgesr.models import create_model

        model = create_model(self.facts["model"], **self.facts["config"])
        model.load_state_dict(load_file(str(self.folder / WEIGHTS)))
        return model.eval()

    def mpsnr(self, call: Callable[[np.ndarray], np.ndarray]) -> float:
        """Mean PSNR over bands and budget blocks, in dB: for tools that ask for a score."""
        found = []
        for block in self.budget:
            sr = np.clip(call(block.lr[None])[0][(slice(None), *block.place)], 0, 1)
            error = ((sr - block.hr) ** 2).mean(axis=(1, 2))
            found.append(float((-10 * np.log10(np.maximum(error, 1e-10))).mean()))
        return float(np.mean(found))


def score(inputs: Inputs, network: nn.Module) -> float:
    """:meth:`Inputs.mpsnr` of a network in torch."""
    import torch

    def call(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(image)).numpy()

    network.eval()
    return inputs.mpsnr(call)


def export(inputs: Inputs, network: nn.Module, path: Path) -> Path:
    """Write a network of torch as ONNX, with the exporter that every torch has."""
    import torch

    free = {0: "batch", 2: "height", 3: "width"}
    image = torch.from_numpy(inputs.calibration[:1])
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    torch.onnx.export(
        network, (image,), str(path), dynamo=False, opset_version=OPSET,
        input_names=["lr"], output_names=["sr"], dynamic_axes={"lr": free, "sr": free},
    )  # fmt: skip
    return path
