"""Candidates: every surgery that is allowed, in closed form, measured before any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from edgesr_export.runtime import session
from scipy.optimize import isotonic_regression
from torch import Tensor, nn

from edgesr.compress.timing_files import file_name, for_target, static_onnx, teacher_onnx
from edgesr.cube.folds import folds
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.drop import (
    BlockFigures,
    block_figures,
    drop_between,
    interval_of,
)
from edgesr.evaluation.interval import CONFIDENCE, ENOUGH_BLOCKS
from edgesr.evaluation.latency import in_torch, measure
from edgesr.loading.workload import Workload
from edgesr.progress import track
from edgesr.surgery import Candidate, Moments, Site, Spectrum, all_moments, choose, walk
from edgesr.surgery.candidates import (
    Faster,
    Prepared,
    prepare,
    upsampler_pass,
    upsampler_passes,
)
from edgesr.surgery.passes import UpsamplerPass

CALIBRATION_WINDOWS = 50_000  # windows of the upsampler's input that the closed form sees
REPEATS = 7
MARGIN = 0.05  # share of the time that a network must save to be taken before a smaller one
ROUNDS = 3  # in which all candidates are timed; the choice is by paired comparisons

Call = Callable[[], object]
Family = tuple[str, ...]
"""A method and the sites that it changes: files of one family differ in widths and weights."""
UNCHANGED = "none"
"""The method that replaces nothing: the network is deployed as it is."""


@dataclass(frozen=True)
class SurgeryOptions:
    """What may take the upsampler's place.

    Attributes:
        method: "auto" for every pass on upsamplers, the name of one, or :data:`UNCHANGED`.
        settings: what is asked for exactly, by the key of the pass's setting, such as "rank".
        rank_target: share of the cumulative singular values at which ranks begin.
        rank_criterion: what is cumulated, see :class:`edgesr.surgery.Spectrum`.
        exact_target: stay at the target's own rank.

    Raises:
        OptionError: no pass on upsamplers is called so.
    """

    method: str = "auto"
    settings: Mapping[str, int] = field(default_factory=dict)
    rank_target: float = 0.9
    rank_criterion: str = "sum"
    exact_target: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("auto", UNCHANGED, *upsampler_passes()):
            known = ", ".join(("auto", *sorted(upsampler_passes()), UNCHANGED))
            raise OptionError(f"--method must be one of {known}, not {self.method!r}")

    @property
    def is_forced(self) -> bool:
        """Whether one setting is asked for, so that no budget decides."""
        return self.exact_target or bool(self.settings)


@dataclass(frozen=True)
class CalibratedModel:
    """The network under the knife, with all that its candidates share.

    Attributes:
        workload: the network, and the scene that it was calibrated on.
        sites: its upsamplers.
        spectra: theirs, by name.
        prepared: what the closed forms need of them.
        folds: the same once for each fold of the scene, see :func:`edgesr.cube.folds.folds`; empty
            where the budget windows alone measure what candidates lose.
    """

    workload: Workload
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    prepared: Prepared
    folds: Sequence[CalibratedModel] = ()

    @property
    def layers(self) -> list[str]:
        """The upsampling layers, by module path."""
        return [layer for site in self.sites for layer in site.layers]

    def operate(self, candidate: Candidate) -> nn.Module:
        """Return the network after a candidate's surgery, in closed form."""
        student, _ = candidate.perform(self.workload.model, self.sites, self.prepared)
        return student.eval()

    def groups(self, candidate: Candidate) -> dict[str, int]:
        """Return the groups that alone make the candidate's graph differ from the original's."""
        found = upsampler_pass(candidate.method)
        return {
            weight: groups
            for site in self.sites
            if site.name in candidate.settings
            for weight, groups in found.groups(site, candidate.settings[site.name]).items()
        }


def enumerate_candidates(
    options: SurgeryOptions, sites: Sequence[Site], spectra: Mapping[str, Spectrum]
) -> list[Candidate]:
    """List the surgeries that are to be measured, largest first; none where none is wanted.

    Raises:
        OptionError: what is asked for is impossible, or not smaller than the layers.
    """
    if options.method == UNCHANGED:
        return []
    passes = upsampler_passes()
    if len(options.settings) > 1:
        names = " and ".join(f"--{key}" for key in options.settings)
        raise OptionError(f"{names} contradict each other; pass one of them")
    for key, value in options.settings.items():
        if options.method != "auto" and passes[options.method].setting != key:
            raise OptionError(f"--method {options.method} has no --{key}; leave out one of them")
        asked = passes.values() if options.method == "auto" else [passes[options.method]]
        return _exactly(key, value, asked, sites)
    starts = {
        name: found.rank(options.rank_target, options.rank_criterion)
        for name, found in spectra.items()
    }
    wanted = list(passes) if options.method == "auto" else [options.method]
    candidates = list(walk(sites, starts, wanted))
    if options.exact_target:
        candidates = _at_target(candidates, passes, sites, starts)
    if not candidates:
        nothing = "there is nothing to gain; --method none deploys the network as it is"
        advice = nothing if options.method == "auto" else "pass --method auto"
        raise OptionError(f"no {options.method} surgery makes the upsampler smaller; {advice}")
    return candidates


def _exactly(
    key: str, value: int, passes: Iterable[UpsamplerPass[Any]], sites: Sequence[Site]
) -> list[Candidate]:
    """The candidate with the setting that was asked for, of the first pass that has such a one."""
    found = next((one for one in passes if one.setting == key), None)
    if found is None:
        raise OptionError(f"no pass that is installed has --{key}; leave it out")
    setting = found.nearest(value)
    offered = list(walk(sites, value, [found.name]))
    exact = [candidate for candidate in offered if candidate.setting == setting]
    if not exact:
        valid = found.choices([candidate.setting for candidate in offered]) if offered else ""
        advice = f"choose {valid}" if valid else "nothing does"
        raise OptionError(f"--{key} {setting} does not make the upsampler smaller; {advice}")
    return exact


def _at_target(
    candidates: Sequence[Candidate],
    passes: Mapping[str, UpsamplerPass[Any]],
    sites: Sequence[Site],
    starts: Mapping[str, int],
) -> list[Candidate]:
    """Those of ``candidates`` that stay at the target's own ranks ``starts``."""
    found = {name: one.at_target(sites, starts) for name, one in passes.items()}
    kept = [candidate for candidate in candidates if candidate.setting == found[candidate.method]]
    if not kept:
        own, *others = [
            f"{passes[name].setting} {setting}"
            for name, setting in found.items()
            if setting is not None
        ] or ["rank"]
        more = f" ({', '.join(others)})" if others else ""
        raise OptionError(
            f"nothing at the target's own {own}{more} is smaller than the layers; leave out"
            " --exact-target, lower --rank-target, or pass --rank-criterion energy"
        )
    return kept


def select(
    candidates: Sequence[Candidate],
    options: SurgeryOptions,
    max_psnr_drop: float,
    max_sam_drop: float | None = None,
    faster: Faster | None = None,
) -> Candidate:
    """Take the fastest within the limits; a setting that was asked for has none to keep.

    ``faster`` compares two candidates; by default by their latencies alone.
    """
    if options.is_forced:
        return choose(candidates, math.inf, faster=faster)
    return choose(candidates, max_psnr_drop, max_sam_drop, options.method, faster)


def calibrate(
    workload: Workload,
    sites: Sequence[Site],
    spectra: Mapping[str, Spectrum],
    methods: Iterable[str],
    seed: int | None = 0,
    *,
    with_folds: bool = False,
) -> CalibratedModel:
    """Gather what the closed forms need of the training data, and decompose each site once.

    Args:
        workload: the network, and the scene that it is calibrated on.
        sites: its upsamplers.
        spectra: theirs, by name.
        methods: passes of the candidates.
        seed: of the order of training patches; None takes the best in weight space, without data.
        with_folds: calibrate also on each fold of a scene that has fewer budget windows than
            :data:`edgesr.evaluation.interval.ENOUGH_BLOCKS`.
    """
    methods = list(methods)

    def calibrated_on(found: Workload) -> CalibratedModel:
        moments: dict[str, Moments] | None = None
        if seed is not None and methods:
            patches = shuffled_patches(found, seed)
            moments = all_moments(found.model, sites, patches, CALIBRATION_WINDOWS)
        return CalibratedModel(found, sites, spectra, prepare(found.model, sites, methods, moments))

    whole, scene = calibrated_on(workload), workload.scene
    if not with_folds or len(scene.budget) >= ENOUGH_BLOCKS:
        return whole
    # not the moments of the other parts added up: of a part alone, a network sees mostly padding
    parts = [replace(workload, scene=fold) for fold in folds(scene)]
    if seed is None:
        return replace(whole, folds=[replace(whole, workload=part) for part in parts])
    return replace(whole, folds=[calibrated_on(part) for part in parts])


def shuffled_patches(workload: Workload, seed: int) -> Iterator[Tensor]:
    """Every LR training patch [B, h, w] once, the scene well mixed."""
    order = torch.randperm(len(workload.scene.train), generator=torch.Generator().manual_seed(seed))
    return (workload.scene.pair(workload.scene.train[index])[0] for index in order.tolist())


def quality_drop(
    before: BlockFigures,
    candidate: Candidate,
    student: nn.Module,
    calibrated: CalibratedModel,
    confidence: float = CONFIDENCE,
) -> dict[str, float]:
    """What a candidate loses on budget windows and folds, see :func:`drop_between`.

    Args:
        before: the original's figures there, see :func:`figures_of`.
        candidate: which surgery.
        student: the network after it, as it is deployed.
        calibrated: the original; its folds make networks of their own.
        confidence: of the intervals in per cent.
    """
    others = [fold.operate(candidate) for fold in calibrated.folds]
    return drop_between(before, figures_of([student, *others], calibrated), confidence)


def figures_of(networks: Iterable[nn.Module], calibrated: CalibratedModel) -> BlockFigures:
    """Figures of the first network on the budget windows, and of the others each on its fold."""
    parts = [calibrated, *calibrated.folds]
    return BlockFigures.joined(
        [
            block_figures(network, part.workload.scene)
            for network, part in zip(networks, parts, strict=True)
        ]
    )


def measure_candidates(
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    tile: Tensor,
    threads: int,
    scratch: Path,
    confidence: float = CONFIDENCE,
) -> list[Candidate]:
    """Return the candidates with their cost, drop on budget windows and latency.

    Where there are folds, the drop is over them as well: in each, the candidate is that of the
    windows around it.

    Args:
        calibrated: the original network.
        candidates: what is measured.
        tile: LR input [1, B, h, w] that latency is measured on.
        threads: CPU threads of the runtime.
        scratch: folder for the ONNX files.
        confidence: of the drops' intervals, in per cent; 0 leaves them out.
    """
    workload = calibrated.workload
    before = figures_of([workload.model] * (1 + len(calibrated.folds)), calibrated)
    bench = Bench(calibrated, tile, threads, scratch)
    calls: dict[str, Call] = {}
    measured = []
    for candidate in track(candidates, "measure candidates"):
        student = calibrated.operate(candidate)
        cost = count(student, tuple(workload.example().shape), calibrated.layers)
        loss = quality_drop(before, candidate, student, calibrated, confidence)
        measured.append(
            replace(
                candidate,
                params=cost.params,
                macs=cost.macs,
                upsampler_params=cost.upsampler_params,
                psnr_drop=loss["psnr_drop"],
                sam_drop=loss["sam_drop"],
                interval=interval_of(loss),
                folds=len(calibrated.folds),
            )
        )
        calls[candidate.label] = bench.call(candidate, student)
    timings = measure(calls, ROUNDS, warmup=1, watch=partial(track, text="time candidates"))
    return _monotone(measured, {name: timing.median_ms for name, timing in timings.items()})


def _monotone(candidates: Sequence[Candidate], times: Mapping[str, float]) -> list[Candidate]:
    """Give candidates their latencies: within a pass, those that rise with the work (isotonic).

    Of one graph less work is not slower; what was measured against that is noise, and averaged.
    """
    fitted: dict[str, float] = {}
    for method in dict.fromkeys(candidate.method for candidate in candidates):
        family = sorted(
            (one for one in candidates if one.method == method), key=lambda one: one.upsampler_macs
        )
        rising = isotonic_regression([times[one.label] for one in family]).x
        fitted |= {one.label: float(ms) for one, ms in zip(family, rising, strict=True)}
    return [replace(one, latency_ms=fitted[one.label]) for one in candidates]


class Bench:
    """Where candidates and the reference are run to be timed, in the form that is deployed.

    Args:
        calibrated: the original network.
        tile: LR input [1, B, h, w] that latency is measured on.
        threads: CPU threads of the runtime.
        scratch: folder for the ONNX files.
    """

    def __init__(
        self, calibrated: CalibratedModel, tile: Tensor, threads: int, scratch: Path
    ) -> None:
        self.calibrated, self.tile, self.threads = calibrated, tile, threads
        self.scratch, self.model = scratch, calibrated.workload.model
        self.original = teacher_onnx(scratch, tile, self.model)
        self.families: dict[Family, tuple[Path, nn.Module]] = {}
        self.proved: set[Family] = set()

    def reference(self) -> Call:
        """A call of the uncompressed network."""
        if self.original is None:
            return in_torch(self.model, self.tile)
        return self._session(self.original, self.model)

    def call(self, candidate: Candidate, student: nn.Module) -> Call:
        """A call of a candidate's network ``student``."""
        if self.original is None:
            return in_torch(student, self.tile)
        family = (candidate.method, *sorted(candidate.settings))
        path = self._written(candidate, family, student, self.original)
        is_proved = family in self.proved
        self.proved.add(family)
        return self._session(path, student, is_proved=is_proved)

    def _session(self, path: Path, network: nn.Module, *, is_proved: bool = False) -> Call:
        run = session(for_target(path, network, self.tile, is_proved=is_proved), self.threads)
        return partial(run, self.tile.numpy())

    def _written(
        self, candidate: Candidate, family: Family, student: nn.Module, original: Path
    ) -> Path:
        """The ONNX file of a candidate: exported, or that of a relative with other weights."""
        groups = self.calibrated.groups(candidate)
        relative = self.families.get(family)
        if groups:
            relative = original, self.model
        name = file_name(candidate)
        path = static_onnx(self.scratch, self.tile, name, student, relative, groups)
        if upsampler_pass(candidate.method).one_graph:
            self.families.setdefault(family, (path, student))
        return path
