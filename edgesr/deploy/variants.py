"""One ONNX file for each target and precision, each made by a chain of checked links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgesr_export.chain import Chain, convert
from edgesr_export.errors import ExportError
from edgesr_export.model_file import load_model
from edgesr_export.targets import ALWAYS, find_target

from edgesr.evaluation.interval import CONFIDENCE, interval
from edgesr.progress import log, timed_stage, track

if TYPE_CHECKING:
    from edgesr_export.int8 import QuantisationResult
    from edgesr_export.int8.calibrate import Calibration

FOLDER = "models"
LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
NONE_WITHIN = "not one layer can be int8 within the limits and gain by it"

Evaluate = Callable[[Callable[[np.ndarray], np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Limits:
    """What int8 may lose on budget blocks.

    Attributes:
        psnr: of MPSNR, in dB.
        sam: of SAM, in degrees.
        confidence: of the intervals whose upper ends must keep to both, in per cent; 0 holds the
            means against them.
    """

    psnr: float = 0.05
    sam: float = 0.05
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class NativeFile:
    """A model for native numbers.

    Attributes:
        path: relative to the run's folder.
        input_dtype, output_dtype: of the images.
        sensor_bands: bands of the image given.
        links: the comparisons with the model of normalised numbers, one for each runtime; their
            differences are in steps of the output: see
            :func:`edgesr_export.native.convert_native`.
    """

    path: str
    input_dtype: str
    output_dtype: str
    sensor_bands: int
    links: list[dict[str, Any]]


@dataclass(frozen=True)
class Model:
    """A file for one target in one precision.

    Attributes:
        target: of :data:`edgesr_export.targets.TARGETS`.
        precision: "fp32", "fp16" or "int8".
        path: relative to the run's folder.
        rewrites: one sentence for each kind of exact rewrite.
        links: the comparisons that it passed; see :class:`edgesr_export.chain.Link`.
        layers: name, kind, precision and reason of each layer whose precision was decided.
        counts: number of those layers by precision.
        left_out: number of those that are float only so that the limits hold.
        validation: "before", "after" and "drop" on budget blocks, with the drop's intervals, where
            layers were chosen by it.
        tuned: whether the weights were fine-tuned with quantisation simulated.
        native: the same for native numbers; None where it was not made.
    """

    target: str
    precision: str
    path: str
    rewrites: list[str]
    links: list[dict[str, Any]]
    layers: list[dict[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    validation: dict[str, Any] | None = None
    tuned: bool = False
    left_out: int = 0
    native: NativeFile | None = None

    @property
    def name(self) -> str:
        return f"{self.target}-{self.precision}"

    @property
    def paths(self) -> list[str]:
        """Of its files."""
        return [self.path, *([self.native.path] if self.native else [])]


@dataclass(frozen=True)
class Skipped:
    """Something that could not be made here, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class VariantBuilder:
    """Makes models of a network, all on the same tiles and within the same limits.

    Attributes:
        folder: of the run; the files go to ``models`` in it.
        tiles: real training tiles [1, B, h, w], to calibrate and to compare on.
        evaluate: "mpsnr" and "sam" of a network on budget blocks, one by one.
        limits: that int8 must hold there.
        threads: that the CPU's int8 layers are timed with.
        speed_image: [1, B, h, w] that they are timed on.
        decided: by target, precision and reason of each layer of its int8 file, as an earlier run
            chose them; a target that is not there gets no int8. None: this run chooses.
        reference: what :attr:`evaluate` says of the network that int8 is held against; None for the
            network given.
        calibrations: for int8; targets that calibrate alike share one.
    """

    folder: Path
    tiles: Sequence[np.ndarray]
    evaluate: Evaluate
    limits: Limits
    threads: int
    speed_image: np.ndarray
    decided: Mapping[str, Mapping[str, tuple[str, str]]] | None = None
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    reference: dict[str, np.ndarray] | None = None

    def make_all(
        self, source: Path, targets: Sequence[str], precisions: Sequence[str]
    ) -> tuple[list[Model], list[Skipped]]:
        """Write the network of ``source`` for every target, in each precision that it takes.

        Args:
            source: float32 ONNX file.
            targets: of :data:`edgesr_export.targets.TARGETS`.
            precisions: of :data:`edgesr_export.targets.PRECISIONS`.

        Returns:
            What was made, and what was not: a target may lack an operator of the network, or a
            precision move its output too far.

        Raises:
            ExportError: an unknown target, or not even float32 for the CPU can be made.
        """
        made: list[Model] = []
        absent: list[Skipped] = []
        for target in targets:
            on = find_target(target)
            for precision in (name for name in on.precisions if name in precisions):
                why, model = on.missing(precision), None
                if precision == "int8" and self.decided is not None and target not in self.decided:
                    why = why or NONE_WITHIN
                try:
                    model = None if why else self.make(source, target, precision)
                except ExportError as error:
                    if (target, precision) == (ALWAYS, "fp32"):
                        raise
                    why = str(error)
                if model is None:
                    absent.append(Skipped(f"{precision} for {target}", why or NONE_WITHIN))
                else:
                    made.append(model)
        return made, absent

    def make(self, source: Path, target: str, precision: str) -> Model | None:
        """Write the network of ``source`` for one target; None where int8 does not pay.

        Raises:
            ExportError: a link of the chain is beyond its tolerance, or an operator that the
                target does not take.
        """
        path = self.folder / FOLDER / f"{target}-{precision}.onnx"
        path.parent.mkdir(exist_ok=True)
        results: list[QuantisationResult] = []
        try:
            with timed_stage(f"{precision} for {target}"):
                chain = convert(
                    source,
                    path,
                    target=target,
                    precision=precision,
                    tiles=self.tiles[:2],
                    quantise=partial(self._quantise, results),
                    opset=find_target(target).opset,
                    overwrite=True,
                )
        except ExportError:
            if results and results[0].path is None:
                return None
            raise
        return _described(chain, str(path.relative_to(self.folder)), results)

    def _quantise(
        self, results: list[QuantisationResult], source: Path, path: Path, target: str
    ) -> object:
        from edgesr_export.int8 import Quality, Speed, quantize

        result = quantize(
            source,
            path,
            self.tiles,
            target=target,
            quality=Quality(
                self.evaluate,
                self.limits.psnr,
                self.limits.sam,
                partial(interval, confidence=self.limits.confidence),
                self.reference,
            ),
            speed=Speed(self.threads, self.speed_image),
            decided=None if self.decided is None else self.decided[target],
            told=log,
            calibrations=self.calibrations,
            watch=track,
        )
        results.append(result)
        return result


def _described(chain: Chain, path: str, results: list[QuantisationResult]) -> Model:
    layers = _typed_layers(chain) if chain.precision == "fp16" else []
    validation, left_out = None, 0
    for result in results:
        layers = [
            {key: str(getattr(layer, key)) for key in ("name", "kind", "precision", "reason")}
            for layer in result.layers
        ]
        drop = {"mpsnr": result.drop.psnr, "sam": result.drop.sam}
        validation = {
            "before": result.before,
            "after": result.after,
            "drop": drop,
            "mpsnr_interval": result.drop.psnr_interval and list(result.drop.psnr_interval),
            "sam_interval": result.drop.sam_interval and list(result.drop.sam_interval),
        }
        left_out = sum(layer.left_out for layer in result.layers)
    return Model(
        chain.target,
        chain.precision,
        path,
        list(chain.rewrites),
        [asdict(link) for link in chain.links],
        layers,
        dict(Counter(layer["precision"] for layer in layers)),
        validation,
        left_out=left_out,
    )


def _typed_layers(chain: Chain) -> list[dict[str, str]]:
    """Layers of a float16 file, and whatever else is left in float32 there."""
    return [
        {
            "name": node.name,
            "kind": node.op_type,
            "precision": "fp32" if node.name in chain.kept else "fp16",
            "reason": chain.kept.get(node.name, "typed so"),
        }
        for node in load_model(chain.path).graph.node
        if node.op_type in LAYERS or node.name in chain.kept
    ]
