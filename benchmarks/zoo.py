"""The networks and the forms in which they run, made once a session when they are first asked for.

Weights are random: they change no latency. How far a surgery or a precision moves the output is
measured by ``edgesr compress``, not here.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgesr_export.chain import convert
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import to_fp16
from edgesr_export.model_file import load_model, write_model
from edgesr_export.onnx import export_onnx
from edgesr_export.rewrite import rewrite
from edgesr_export.runtime import session
from torch import nn

from benchmarks.names import BANDS, BLOCKS, SCALE
from edgesr.evaluation.cost import Cost, count
from edgesr.models import create_model
from edgesr.surgery import lowrank, require_sites

CALIBRATION_TILES = 4


class AbsentError(Exception):
    """A form that this machine cannot run; the message says why."""


def build(
    name: str, *, bands: int = BANDS, scale: int = SCALE, blocks: int = BLOCKS, seed: int = 0
) -> nn.Module:
    """A network of :data:`benchmarks.names.NETWORKS` with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    if name in ("vdsr", "3dfcnn", "dacn"):
        return create_model(name, bands=bands, scale=scale).eval()
    options: dict[str, Any] = {"bands": bands, "scale": scale, "blocks": blocks}
    if name == "g=8":
        return create_model("lkca_net", groups=8, **options).eval()
    model = create_model("lkca_net", **options).eval()
    if name.startswith("R="):
        site = require_sites(model, torch.rand(1, bands, 16, 16))[0]
        model, _ = lowrank(model, site, int(name.removeprefix("R=")))
    return model.eval()


def plausible_tiles(count: int, bands: int, side: int, seed: int = 0) -> np.ndarray:
    """Tiles [count, bands, side, side] in [0, 1]: smooth abundances of a few smooth spectra."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((6, bands)).cumsum(axis=1)
    lowest, highest = (extreme(steps, axis=1, keepdims=True) for extreme in (np.min, np.max))
    spectra = (steps - lowest) / (highest - lowest)
    coarse = rng.random((count, 6, -(-side // 4), -(-side // 4))) ** 3
    fine = coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, :side, :side] + 1e-3
    tiles = np.einsum("nehw,eb->nbhw", fine / fine.sum(axis=1, keepdims=True), spectra)
    noisy = tiles + 0.01 * rng.standard_normal(tiles.shape)
    return noisy.clip(0, 1).astype(np.float32)


class Zoo:
    """Makes networks, their ONNX files and callables of them.

    Args:
        folder: for the files.
        threads: of every runtime.

    Attributes:
        took: seconds that making a file took, by network and form.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.threads = threads
        self.took: dict[tuple[str, str], float] = {}
        self._folder = folder
        self._models: dict[str, nn.Module] = {}
        self._costs: dict[tuple[str, int], Cost] = {}

    def model(self, network: str) -> nn.Module:
        """The network in torch."""
        if network not in self._models:
            self._models[network] = build(network)
        return self._models[network]

    def cost(self, network: str, side: int = 16) -> Cost:
        """Parameters, and MACs for an LR tile of ``side`` x ``side``."""
        key = (network, side)
        if key not in self._costs:
            self._costs[key] = count(self.model(network), (1, BANDS, side, side))
        return self._costs[key]

    def call(self, network: str, form: str, side: int) -> Callable[[], object]:
        """What runs a network in a form of :mod:`benchmarks.names` on one square tile.

        Raises:
            AbsentError: this machine cannot.
        """
        tile = plausible_tiles(1, BANDS, side)
        if form in ("eager", "eager bf16", "compiled"):
            return self._in_torch(network, form, torch.from_numpy(tile))
        if form.startswith("openvino"):
            return partial(self._in_openvino(network, form), tile)
        return partial(session(self.file(network, form), self.threads), tile)

    def file(self, network: str, form: str) -> Path:
        """ONNX file of a network: "plain", "rewritten", "slabs", "fp16", "int8", "openvino", or
        "half": rewritten and in FP16, without slabs, for a GPU."""
        path = self._folder / f"{network} {form}.onnx"
        if not path.exists():
            plain = path if form == "plain" else self.file(network, "plain")
            start = time.perf_counter()
            self._make(network, form, plain, path)
            self.took[network, form] = time.perf_counter() - start
        return path

    def _make(self, network: str, form: str, plain: Path, path: Path) -> None:
        if form == "plain":
            example = torch.rand(1, BANDS, 16, 16)
            export_onnx(self.model(network), example, path, rewrite=False)
        elif form == "rewritten":
            write_model(rewrite(load_model(plain))[0], path)
        elif form == "half":
            to_fp16(self.file(network, "rewritten"), path)
        elif form == "int8":
            try:
                convert(plain, path, target="cpu", precision="int8", quantise=self._quantise)
            except ExportError as error:  # measured: no layer gains, at least not today
                raise AbsentError(str(error)) from error
        elif form == "openvino":
            convert(plain, path, target="openvino")
        else:
            precision = {"slabs": "fp32", "fp16": "fp16"}[form]
            convert(plain, path, target="cpu", precision=precision)

    def _quantise(self, source: Path, path: Path, target: str) -> object:
        """INT8 wherever this CPU gains by it; quality is not asked, the weights being random."""
        try:
            from edgesr_export.int8 import Quality, Speed, quantize
        except ModuleNotFoundError as error:
            raise AbsentError(f"INT8 needs the extra 'int8' ({error})") from error
        return quantize(
            source,
            path,
            [tile[None] for tile in plausible_tiles(CALIBRATION_TILES, BANDS, 16)],
            target=target,
            quality=Quality(lambda network: {"mpsnr": 0.0, "sam": 0.0}, 1.0, 1.0),
            speed=Speed(self.threads),
        )

    def _in_torch(self, network: str, form: str, tile: torch.Tensor) -> Callable[[], object]:
        model = self.model(network)
        if form == "eager bf16":
            model, tile = copy.deepcopy(model).bfloat16(), tile.bfloat16()
        if form == "compiled":
            if not any(map(shutil.which, ("g++", "clang++"))):
                raise AbsentError("torch.compile needs a C++ compiler and none is here")
            model = torch.compile(model, dynamic=False)  # type: ignore[assignment]

        def run() -> None:
            with torch.inference_mode():
                model(tile)

        return run

    def _in_openvino(self, network: str, form: str) -> Callable[[np.ndarray], np.ndarray]:
        from edgesr_export.openvino import openvino_session

        file = "plain" if "plain" in form else "openvino"
        precision = "bfloat16" if form.endswith("bf16") else "float32"
        try:
            return openvino_session(self.file(network, file), self.threads, precision)
        except ExportError as error:
            raise AbsentError(str(error)) from error
