"""TensorRT and TensorRT-RTX: typed files, engines of them, and an NVIDIA GPU to run those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesr_export.errors import ExportError
from edgesr_export.targets._base import (
    Built,
    Compare,
    Network,
    Row,
    Runtime,
    Target,
    register,
)

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from edgesr_export.int8.layers import Layer
    from edgesr_export.int8.scheme import QuantScheme
    from edgesr_export.profile import Profiled
    from edgesr_export.runner import Runner

USUAL_CAPABILITY = "8.6"
"""Built for where no GPU is at hand: Ampere, such as an RTX 30 or A10."""

TILES = (8, 64, 128)
"""LR sides that an engine serves: least, tuned for, largest."""


@register
class TensorRt(Target):
    """Its files are judged in ONNX Runtime and timed as engines, where there is a GPU."""

    name, label = "tensorrt", "TensorRT"
    precisions = ("fp32", "fp16", "int8")
    opset = 16
    """The newest that the oldest TensorRT of a supported board reads: 8.5, of JetPack 5."""
    by_default = bundled = True
    engines = "TensorRT"
    sixteen_bits = False

    @property
    def scheme(self) -> QuantScheme:
        """int8 with zero point 0 alone: TensorRT takes uint8 for int8, with wrong ranges.

        It computes in int8 from the inputs alone. What gets faster, this machine cannot tell.
        """
        import numpy as np

        from edgesr_export.int8.scheme import QuantScheme

        return QuantScheme(np.int8, symmetric=True, outputs=False, timed=False, unfit=_unfit)

    @property
    def runtimes(self) -> Sequence[Runtime]:
        return (Runtime("tensorrt", _open, _missing, self.name, ".engine"),)

    def refuse(self, model: onnx.ModelProto) -> None:
        """What no TensorRT takes, whether or not one is here."""
        from edgesr_export.tensorrt.refusal import refuse

        refuse(model)

    def check(self, path: Path, compare: Compare, tolerance: float | None) -> Sequence[str]:
        """Show the file to its parser: without a GPU nothing can be run."""
        from edgesr_export.model_file import load_model
        from edgesr_export.tensorrt.check import parse

        reader = parse(load_model(path))
        return (f"{reader} reads the file",) if reader else ("no TensorRT here to read the file",)

    def measured(
        self,
        path: Path,
        precision: str,
        *,
        engine: Path | None,
        threads: int,
        shape: Sequence[int],
    ) -> list[Row]:
        """The engine, launched as one graph; the file in ONNX Runtime where there is no GPU."""
        run = _on_gpu(path, engine)
        if isinstance(run, str):
            return [self.untimed(path, precision, threads, run)]
        return [Row(self.label, precision, run, run)]

    def profile(
        self,
        path: Path,
        precision: str,
        image: np.ndarray,
        *,
        engine: Path | None = None,
        threads: int = 1,
        runs: int = 20,
    ) -> Profiled:
        """By ``IProfiler``, on the engine."""
        from edgesr_export.profile.tensorrt import tensorrt_profile

        if engine is None:
            raise ExportError(f"{path} has no engine to profile; build one with edgesr engine")
        return tensorrt_profile(engine, path, image, runs=runs)

    def cannot_build(self) -> str:
        from edgesr_export.tensorrt import available

        if available():
            return ""
        return (
            "TensorRT is not installed: pip install 'edgesr[tensorrt]', or build on the board"
            " with edgesr bundle"
        )

    def check_capability(self, capability: str) -> None:
        """By what this TensorRT builds for; where there is none, by its form alone."""
        from edgesr_export.tensorrt.api import available, find_api, parse_capability
        from edgesr_export.tensorrt.builder import capability_to_build_for
        from edgesr_export.tensorrt.cuda import find_device

        parse_capability(capability)
        if available():
            capability_to_build_for(find_api(), capability, find_device())

    def build(
        self,
        source: Path,
        folder: Path,
        precision: str,
        capability: str | None,
        tiles: tuple[int, int, int] | None = None,
    ) -> Built:
        """For tiles of :data:`TILES` where the file leaves their size free."""
        from edgesr_export.model_file import read_graph
        from edgesr_export.native import recorded_io
        from edgesr_export.tensorrt import build, tile_profile
        from edgesr_export.tensorrt.profile import model_inputs

        wanted, model = capability or _here(), read_graph(source)
        kind = f"{precision}.native" if recorded_io(model) else precision
        path = folder / f"sm{wanted.replace('.', '')}-{kind}.engine"
        profile = tile_profile(model_inputs(model), tiles or TILES)
        side = build(
            source, path, expect=precision, compute_capability=wanted, profile=profile
        ).side
        return Built(
            path,
            precision,
            f"{side.library} {side.version}",
            side.compute_capability,
            side.build_seconds,
            dict(Counter(str(one["obtained"]) for one in side.precision.values())),
            side.why_one_size,
        )


def _open(source: Any, _: int, device: int) -> Runner:
    from edgesr_export.tensorrt import Runner as Engine

    return Engine(source, device=device)


def _missing() -> str:
    from edgesr_export.tensorrt import available
    from edgesr_export.tensorrt.cuda import NO_GPU, find_device

    if not available():
        return "TensorRT is not installed; install the extra 'tensorrt'"
    return "" if find_device() else NO_GPU


def _on_gpu(path: Path, engine: Path | None) -> Network | str:
    """The engine of a file, or why it cannot run here."""
    from edgesr_export.tensorrt import Runner as Engine
    from edgesr_export.tensorrt.cuda import find_device

    if engine is None or find_device() is None:
        return "it needs a GPU and none is here; the bundle measures it on a board"
    try:
        return Engine(engine, onnx=path, cuda_graph=True)
    except ExportError as error:
        return f"not run here: {error}"


def _here() -> str:
    from edgesr_export.tensorrt.api import capability_text
    from edgesr_export.tensorrt.cuda import find_device

    device = find_device()
    return capability_text(device.capability) if device else USUAL_CAPABILITY


def _unfit(layer: Layer) -> str:
    if layer.operator == "Conv" and layer.groups > 1:
        width = layer.shape[1]
        if width > 1 and (width % 4 or (layer.shape[0] // layer.groups) % 4):
            return "groups whose width is no multiple of 4 have no int8 kernel in TensorRT"
    return ""
