"""What every tool is given, and what becomes of what it gives back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgesr_export.errors import ExportError
from edgesr_export.onnx import export_onnx
from edgesr_export.work import Work
from safetensors.torch import save_file

from benchmarks.peers.inputs import DATA, FACTS, NETWORK, WEIGHTS
from edgesr.deploy.quality import Network, SessionModule, calibration_tiles
from edgesr.evaluation.cost import DEFAULT_SIZE
from edgesr.evaluation.drop import BlockFigures, block_figures, drop_between
from edgesr.evaluation.tiling import ALWAYS_WHOLE
from edgesr.files import atomic_path
from edgesr.loading.workload import Workload

BESIDES = ("QuantizeLinear", "DequantizeLinear", "Resize")
"""Operators of which every input but the first is a scale, a zero point or a size."""

FLOATS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8, onnx.TensorProto.INT32,
)  # fmt: skip
"""Types of weights, and of the biases of int8 layers."""


def hand_over(workload: Workload, folder: Path, more: Mapping[str, Any]) -> str:
    """Write the files that :class:`benchmarks.peers.inputs.Inputs` reads.

    Args:
        workload: the scene and the network, which must be one of edgesr's own.
        folder: for the files.
        more: facts: "runs", folders of finished runs of edgesr by the name of their row, and
            "weights", of the teacher, where they are not the shipped ones.

    Returns:
        A digest of the network and the data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, scene = workload.model, workload.scene
    data = {"calibration": np.concatenate(calibration_tiles(scene))}
    for number, sample in enumerate(scene.samples("budget")):
        data[f"lr{number}"], data[f"hr{number}"] = sample.lr.numpy(), sample.hr.numpy()
        data[f"at{number}"] = np.array([[side.start, side.stop] for side in sample.place])
    facts = {
        "model": model.name,
        "config": model.config,
        "bands": len(scene.bands),
        "scale": scene.scale,
        **more,
    }
    with atomic_path(folder / DATA) as part:
        np.savez(part, **data)
    save_file(model.state_dict(), folder / WEIGHTS)
    export_onnx(model, workload.example(), folder / NETWORK, rewrite=False)
    with atomic_path(folder / FACTS) as part:
        part.write_text(json.dumps(facts, indent=1), "utf-8")
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes())
    for name in sorted(data):
        digest.update(np.ascontiguousarray(data[name]))
    return digest.hexdigest()[:16]


@dataclass
class Judge:
    """Compares networks with the reference, on its own budget blocks and test region."""

    workload: Workload
    confidence: float
    _before: dict[str, BlockFigures] = field(default_factory=dict)

    def drops(self, network: Network) -> dict[str, Any]:
        """The drop on budget blocks with its interval, and on the test region."""
        foreign = SessionModule(network)
        found = {
            split: drop_between(
                self._reference(split),
                block_figures(foreign, self.workload.scene, split, tile=ALWAYS_WHOLE),
                self.confidence,
            )
            for split in ("budget", "test")
        }
        return {name: {key: round(v, 5) for key, v in drop.items()} for name, drop in found.items()}

    def size(self, file: Path, plain: Path) -> dict[str, int | None]:
        """Parameters, MACs at LR 16 x 16 and bytes.

        A file in a form of the tool's own has the layers of ``plain``, which it was made from.
        """
        counted = file if file.suffix == ".onnx" else plain
        shape = (1, len(self.workload.scene.bands), DEFAULT_SIZE, DEFAULT_SIZE)
        return {"params": parameters(counted), "macs": macs(counted, shape), "bytes": _bytes(file)}

    def _reference(self, split: str) -> BlockFigures:
        if split not in self._before:
            self._before[split] = block_figures(self.workload.model, self.workload.scene, split)
        return self._before[split]


def parameters(file: Path) -> int:
    """Numbers that an ONNX file holds, but for scales, zero points and sizes."""
    graph = onnx.load(file).graph
    scales = {name for node in graph.node if node.op_type in BESIDES for name in node.input[1:]}
    return sum(
        int(np.prod(one.dims, dtype=np.int64))
        for one in graph.initializer
        if one.data_type in FLOATS and one.name not in scales
    )


def macs(file: Path, shape: tuple[int, ...]) -> int | None:
    """Multiply-accumulates; None where the shapes of a file cannot be told."""
    try:
        return sum(layer.macs for layer in Work(file, shape).layers())
    except ExportError:
        return None


def _bytes(path: Path) -> int:
    """Of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())
