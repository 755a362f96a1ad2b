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
from torch import Tensor, nn

from edgesr.compress.timing_files import file_name, for_target, static_onnx, teacher_onnx
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.latency import in_torch, measure
from edgesr.loading.workload import Workload
from edgesr.progress import timed_stage, track
from edgesr.surgery import Candidate, Moments, Site, Spectrum, all_moments, choose, walk
from edgesr.surgery.candidates import Prepared, prepare, upsampler_pass, upsampler_passes
from edgesr.surgery.passes import UpsamplerPass

CALIBRATION_WINDOWS = 50_000  # windows of the upsampler's input that the closed form sees
REPEATS = 7
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
    """The network under the knife, with all that its candidates share."""

    workload: Workload
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    prepared: Prepared

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
        return _exactly(key, value, passes.values(), sites)
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
) -> Candidate:
    """Take the fastest within the limits; a setting that was asked for has none to keep."""
    if options.is_forced:
        return choose(candidates, math.inf)
    return choose(candidates, max_psnr_drop, max_sam_drop, options.method)


def calibrate(
    workload: Workload,
    sites: Sequence[Site],
    spectra: Mapping[str, Spectrum],
    methods: Iterable[str],
    seed: int | None = 0,
) -> CalibratedModel:
    """Gather what the closed forms need of the training data, and decompose each site once.

    Args:
        workload: the network, and the scene that it is calibrated on.
        sites: its upsamplers.
        spectra: theirs, by name.
        methods: passes of the candidates.
        seed: of the order of training patches; None takes the best in weight space, without data.
    """
    moments: dict[str, Moments] | None = None
    methods = list(methods)
    if seed is not None and methods:
        patches = shuffled_patches(workload, seed)
        moments = all_moments(workload.model, sites, patches, CALIBRATION_WINDOWS)
    return CalibratedModel(
        workload, sites, spectra, prepare(workload.model, sites, methods, moments)
    )


def shuffled_patches(workload: Workload, seed: int) -> Iterator[Tensor]:
    """Every LR training patch [B, h, w] once, the scene well mixed."""
    order = torch.randperm(len(workload.scene.train), generator=torch.Generator().manual_seed(seed))
    return (workload.scene.pair(workload.scene.train[index])[0] for index in order.tolist())


def quality_drop(
    before: Mapping[str, float], student: nn.Module, workload: Workload
) -> dict[str, float]:
    """What a student loses on validation: "psnr_drop" [dB] and "sam_drop" [degrees].

    ``before`` are the original's metrics there.
    """
    after = evaluate(student, workload.scene, "validation")
    return {
        "psnr_drop": before["mpsnr"] - after["mpsnr"],
        "sam_drop": after["sam"] - before["sam"],
    }


def measure_candidates(
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    tile: Tensor,
    threads: int,
    scratch: Path,
) -> list[Candidate]:
    """Return the candidates with their cost, drop on validation and latency.

    Args:
        calibrated: the original network.
        candidates: what is measured.
        tile: LR input [1, B, h, w] that latency is measured on.
        threads: CPU threads of the runtime.
        scratch: folder for the ONNX files.
    """
    workload = calibrated.workload
    before = evaluate(workload.model, workload.scene, "validation")
    original = teacher_onnx(scratch, tile, workload.model)
    files = _TimingFiles(calibrated, tile, scratch, original) if original else None
    calls: dict[str, Callable[[], object]] = {}
    measured = []
    for candidate in track(candidates, "measure candidates"):
        student = calibrated.operate(candidate)
        cost = count(student, tuple(workload.example().shape))
        loss = quality_drop(before, student, workload)
        measured.append(
            replace(
                candidate,
                params=cost.params,
                macs=cost.macs,
                upsampler_params=cost.upsampler_params,
                psnr_drop=loss["psnr_drop"],
                sam_drop=loss["sam_drop"],
            )
        )
        if files is None:
            calls[candidate.label] = in_torch(student, tile)
        else:
            run = session(files.write(candidate, student), threads)
            calls[candidate.label] = partial(run, tile.numpy())
    with timed_stage("time candidates"):
        timings = measure(calls, REPEATS)
    return [replace(one, latency_ms=timings[one.label].median_ms) for one in measured]


class _TimingFiles:
    """ONNX files of candidates: exported, or those of a relative with other weights."""

    def __init__(
        self, calibrated: CalibratedModel, tile: Tensor, scratch: Path, original: Path
    ) -> None:
        self.calibrated, self.tile = calibrated, tile
        self.scratch, self.original = scratch, original
        self.families: dict[tuple[str, ...], tuple[Path, nn.Module]] = {}

    def write(self, candidate: Candidate, student: nn.Module) -> Path:
        """The file of a candidate, as the runtime gets it."""
        groups = self.calibrated.groups(candidate)
        family = (candidate.method, *sorted(candidate.settings))
        relative = self.families.get(family)
        if groups:
            relative = self.original, self.calibrated.workload.model
        name = file_name(candidate)
        path = static_onnx(self.scratch, self.tile, name, student, relative, groups)
        if upsampler_pass(candidate.method).one_graph:
            self.families.setdefault(family, (path, student))
        return for_target(path, student, self.tile)
