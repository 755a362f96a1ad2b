"""The way of a file: layers -> calibration -> what gets faster -> what may be lost -> written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx

from edgesr_export.errors import ExportError
from edgesr_export.int8.calibrate import (
    Calibration,
    calibrate,
    calibration_key,
    checked_tiles,
)
from edgesr_export.int8.control import (
    Decision,
    Drop,
    Evaluate,
    Interval,
    Limits,
    Metrics,
    checked_metrics,
    control,
)
from edgesr_export.int8.layers import Layer, find_layers, prepare
from edgesr_export.int8.observe import observe
from edgesr_export.int8.place import outlet
from edgesr_export.int8.result import LayerPrecision, QuantisationResult, remember
from edgesr_export.int8.scheme import QuantScheme
from edgesr_export.int8.speed import GroupSpeed, caller, faster_groups
from edgesr_export.int8.telemetry import load_nncf
from edgesr_export.int8.trial import Bench
from edgesr_export.int8.validate_qdq import validate_qdq
from edgesr_export.model_file import load_model, write_model
from edgesr_export.paired import Paired, compare
from edgesr_export.rewrite.transposed import by_convolutions
from edgesr_export.runtime import Session
from edgesr_export.targets import find_target
from edgesr_export.watch import Watch, unwatched

SPEED_SIDE = 64
"""Side of the image that speed is measured on, where the file leaves it free."""


@dataclass(frozen=True)
class Quality:
    """What int8 may lose, and how that is measured.

    Attributes:
        evaluate: answers {"mpsnr": dB, "sam": degrees} of a network on validation data, as numbers
            or block by block; never on test data, since it chooses the layers.
        max_psnr_drop: largest accepted loss of "mpsnr", in dB.
        max_sam_drop: largest accepted rise of "sam", in degrees.
        interval: of the mean of what blocks lose; its upper end must then keep to the limits.
        reference: metrics of the network that is lost against; None for the float32 network itself.
    """

    evaluate: Evaluate
    max_psnr_drop: float
    max_sam_drop: float
    interval: Interval | None = None
    reference: Metrics | None = None


@dataclass(frozen=True)
class Speed:
    """How it is measured what gets faster.

    Attributes:
        threads: of the runtime, for the metrics too.
        image: [N, B, h, w] to measure on; None takes the first tile, repeated to 64 x 64 where the
            file leaves the size free.
        seconds: that the kinds of layers share where they show no difference; the least number of
            rounds is taken all the same.
    """

    threads: int = 1
    image: np.ndarray | None = None
    seconds: float = 16.0


def quantize(
    source: Path | str,
    path: Path | str,
    tiles: Iterable[np.ndarray],
    *,
    target: str,
    quality: Quality,
    speed: Speed | None = None,
    keep: Collection[str] = (),
    decided: Mapping[str, tuple[str, str]] | None = None,
    told: Callable[[str], None] = lambda _: None,
    calibrations: MutableMapping[str, Calibration] | None = None,
    watch: Watch = unwatched,
) -> QuantisationResult:
    """Write the network of ``source`` to ``path`` with as many int8 layers as the limits allow.

    What is measured is the network after :func:`edgesr_export.rewrite.rewrite` for the target, as
    it will run. What is written is the network before it, since only there the layers have their
    names: rewrite it, or let :func:`edgesr_export.chain.convert` do all.

    Args:
        source: float32 ONNX file, the exact rewrites done that serve every target.
        path: file to write; it appears only when complete and proved.
        tiles: calibration inputs [1, B, h, w], as the network gets them: real training data,
            without nodata, never the test region.
        target: one of :data:`edgesr_export.targets.TARGETS` that has int8; where this machine can
            tell, only layers that get faster there.
        quality: what may be lost.
        speed: how speed is measured; by default in one thread on the first tile.
        keep: names of further layers to leave in float32.
        decided: precision and reason of every layer, by name, as an earlier call found them: its
            file is made again, and nothing is timed or chosen.
        told: is told what no time was left for.
        calibrations: what calls for other targets have found out about the same network on the same
            tiles, and where this one adds to it.
        watch: passes on what is worked through, and shows how far it is.

    Returns:
        What was decided for each layer and why. Where even one layer breaks a limit, or none gets
        faster, nothing is written and its ``path`` is None.

    Raises:
        ExportError: NNCF is not installed, no or unusable tiles, an unknown target or layer, a
            negative limit, metrics that are not finite, decisions of another network, or a file
            that cannot be read or written.
    """
    on, path, speed = find_target(target), Path(path), speed or Speed()
    scheme, limits = on.scheme, Limits(quality.max_psnr_drop, quality.max_sam_drop)
    if not speed.seconds >= 0:
        raise ExportError(f"speed is measured from 0 seconds, got {speed.seconds}")
    if not path.parent.is_dir():
        raise ExportError(f"{path} cannot be written: {path.parent} is no folder; create it first")
    load_nncf()
    model = prepare(load_model(source))
    as_int8 = by_convolutions(model)
    layers = find_layers(as_int8)
    reasons = {layer.name: layer.fixed or scheme.unfit(layer) for layer in layers}
    reasons |= dict.fromkeys(_known(keep, layers, source), "asked for")
    images = checked_tiles(tiles, model)
    before = quality.reference
    if before is None:
        before = checked_metrics(quality.evaluate, Session(source, speed.threads))
    calibration = _calibrated(as_int8, _open(layers, reasons), images, scheme, calibrations)
    for layer in _open(layers, reasons):
        if layer.name not in calibration.weights:
            reasons[layer.name] = "NNCF leaves it in float: a gate, or an input without a range"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(model, calibration, on, Path(folder), speed.threads)
        judge = _Judge(bench, quality.evaluate, before, quality.interval)
        if decided is None:
            timed = replace(speed, image=_speed_image(model, images[0], speed.image))
            choice = _choose(bench, judge, layers, reasons, limits, timed, watch, told)
        else:
            choice = _Choice(_as_decided(find_layers(model), decided))
        chosen = choice.chosen
        if chosen:
            quantised = bench.quantised(chosen)
            validate_qdq(quantised, chosen, scheme)
            remember(quantised, target, choice.verdicts)
            after = judge.after(chosen)
            write_model(quantised, path)
        else:
            after = before
    return QuantisationResult(
        path=path if chosen else None,
        target=target,
        layers=choice.verdicts,
        before=_means(before),
        after=_means(after),
        drop=Drop.between(before, after, quality.interval),
        tiles=len(images),
        trials=choice.trials,
        groups=choice.groups,
        times=choice.times,
    )


@dataclass(frozen=True)
class _Choice:
    """Which layers are int8, and what that was decided by; see :class:`QuantisationResult`."""

    verdicts: tuple[LayerPrecision, ...]
    trials: int = 0
    groups: tuple[GroupSpeed, ...] = ()
    times: Paired | None = None

    @property
    def chosen(self) -> set[str]:
        return {layer.name for layer in self.verdicts if layer.precision == "int8"}


def _choose(
    bench: Bench,
    judge: _Judge,
    layers: list[Layer],
    reasons: dict[str, str],
    limits: Limits,
    speed: Speed,
    watch: Watch,
    told: Callable[[str], None],
) -> _Choice:
    """Choose among the layers that ``reasons`` leave open: what gets faster, within the limits."""
    groups: list[GroupSpeed] = []
    timed, image = bench.target.scheme.timed, speed.image
    assert image is not None  # the caller's
    if timed:
        groups = faster_groups(bench, _open(layers, reasons), image, speed.seconds, watch)
        reasons |= _slow(groups)
    candidates = _open(layers, reasons)

    def drop(indices: Sequence[int]) -> Drop:
        names = frozenset(candidates[index].name for index in indices)
        return judge.drop(names)

    decision = control(candidates, drop, limits, told=told, watch=watch)
    chosen = {candidates[index].name for index in decision.chosen}
    times = None
    if timed and chosen:
        float_call, int8_call = (caller(bench, one, image) for one in ((), chosen))
        times = compare(float_call, int8_call, seconds=speed.seconds / 2)
    if times is not None and times.verdict <= 0:
        reasons |= dict.fromkeys(chosen, "what the limits allow makes the network no faster")
        chosen = set()
    verdicts = _verdicts(find_layers(bench.model), candidates, chosen, reasons, decision)
    return _Choice(verdicts, decision.trials, tuple(groups), times)


def _as_decided(
    layers: Sequence[Layer], decided: Mapping[str, tuple[str, str]]
) -> tuple[LayerPrecision, ...]:
    """The verdicts of an earlier call."""
    if set(decided) != {layer.name for layer in layers}:
        raise ExportError("the decisions are of another network: their layers have other names")
    return tuple(
        LayerPrecision(layer.name, layer.kind, layer.shape, *decided[layer.name])
        for layer in layers
    )


def _open(layers: Sequence[Layer], reasons: Mapping[str, str]) -> list[Layer]:
    """The layers that nothing speaks against."""
    return [layer for layer in layers if not reasons[layer.name]]


def _calibrated(
    model: onnx.ModelProto,
    layers: list[Layer],
    images: list[np.ndarray],
    scheme: QuantScheme,
    known: MutableMapping[str, Calibration] | None,
) -> Calibration:
    """Ranges and weights; where the target wants pairs behind layers, ranges of what leaves too."""
    known = {} if known is None else known
    key = calibration_key(model, layers, images, scheme)
    if key not in known:
        known[key] = calibrate(model, layers, images, scheme)
    found = known[key]
    if not scheme.outputs:
        return found
    leaving = {outlet(model, layer.name) for layer in layers if layer.name in found.weights}
    observed = observe(model, leaving, images)
    return Calibration({**observed, **found.ranges}, found.weights, found.biases)


@dataclass
class _Judge:
    """Measures networks with sets of layers in int8, and remembers."""

    bench: Bench
    evaluate: Evaluate
    before: Metrics
    interval: Interval | None = None
    metrics: dict[frozenset[str], Metrics] = field(default_factory=dict)

    def after(self, chosen: Collection[str]) -> Metrics:
        key = frozenset(chosen)
        if key not in self.metrics:
            self.metrics[key] = checked_metrics(self.evaluate, self.bench.session(key))
        return self.metrics[key]

    def drop(self, chosen: Collection[str]) -> Drop:
        return Drop.between(self.before, self.after(chosen), self.interval)


def _means(metrics: Metrics) -> dict[str, float]:
    return {name: float(np.mean(value)) for name, value in metrics.items()}


def _known(keep: Collection[str], layers: list[Layer], source: Path | str) -> Collection[str]:
    unknown = sorted(set(keep) - {layer.name for layer in layers})
    if unknown:
        raise ExportError(f"{source} has no layer {', '.join(unknown)} to keep in float")
    return keep


def _speed_image(model: onnx.ModelProto, tile: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    if given is not None:
        return given
    stored = {tensor.name for tensor in model.graph.initializer}
    entry = next(value for value in model.graph.input if value.name not in stored)
    sizes = [axis.dim_value for axis in entry.type.tensor_type.shape.dim][2:]
    wanted = [size or SPEED_SIDE for size in sizes]
    repeats = [-(-want // have) for want, have in zip(wanted, tile.shape[2:], strict=True)]
    return np.tile(tile, (1, 1, *repeats))[:, :, : wanted[0], : wanted[1]]


def _slow(groups: list[GroupSpeed]) -> dict[str, str]:
    return {name: group.why_not for group in groups if not group.pays for name in group.layers}


def _verdicts(
    layers: list[Layer],
    candidates: list[Layer],
    chosen: Collection[str],
    reasons: dict[str, str],
    decision: Decision,
) -> tuple[LayerPrecision, ...]:
    alone = {candidates[index].name: drop for index, drop in decision.alone.items()}
    worst_first = [candidates[index].name for index in reversed(decision.ranking)]

    def reason(layer: Layer) -> str:
        known = reasons[layer.name]
        if known or not alone:
            return known or "within the limits together with the others"
        if layer.name not in alone:
            return "no time was left to measure what it costs alone"
        drop, rank = alone[layer.name], worst_first.index(layer.name) + 1
        verdict = "within the limits" if layer.name in chosen else "left out to hold the limits"
        return (
            f"{verdict}: alone it costs {drop.psnr:.4f} dB and {drop.sam:.4f} degrees"
            + (
                f" (at worst {drop.worst_psnr:.4f} and {drop.worst_sam:.4f})"
                if drop.psnr_interval
                else ""
            )
            + f", rank {rank} of {len(worst_first)}"
        )

    return tuple(
        LayerPrecision(
            layer.name,
            layer.kind,
            layer.shape,
            "int8" if layer.name in chosen else "fp32",
            reason(layer),
            alone.get(layer.name),
        )
        for layer in layers
    )
