"""Trials: every surgery that a recipe allows, in closed form, measured before any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from edgesr.recipe.recipes import CompressRecipe
from edgesr.run_folder import RunFolder
from edgesr.surgery import (
    Candidate,
    Moments,
    Site,
    Spectrum,
    all_moments,
    choose,
    factorise,
    groups_for_rank,
    walk,
)

CALIBRATION_WINDOWS = 50_000  # windows of the upsampler's input that the closed form sees
REPEATS = 7


@dataclass(frozen=True)
class CalibratedModel:
    """The network under the knife, with all that its candidates share."""

    workload: Workload
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    moments: Mapping[str, Moments] | None
    factorisations: Mapping[str, Any]

    def operate(self, candidate: Candidate) -> nn.Module:
        """Return the network after a candidate's surgery, in closed form."""
        student, _ = candidate.perform(
            self.workload.model, self.sites, self.moments, self.factorisations
        )
        return student.eval()

    def groups(self, candidate: Candidate) -> dict[str, int]:
        """Return the groups that a grouped candidate gives its layers, by the layer's weight."""
        if candidate.method != "grouped":
            return {}
        return {
            f"{layer}.weight": candidate.settings[site.name]
            for site in self.sites
            if site.name in candidate.settings
            for layer in site.layers
        }


def enumerate_candidates(
    recipe: CompressRecipe, sites: Sequence[Site], spectra: Mapping[str, Spectrum]
) -> list[Candidate]:
    """List the surgeries that a recipe wants measured, largest first.

    Raises:
        OptionError: what the recipe asks for is impossible, or not smaller than the layers.
    """
    starts = {
        name: found.rank(recipe.rank_target, recipe.rank_criterion)
        for name, found in spectra.items()
    }
    if recipe.groups is not None and recipe.rank is not None:
        raise OptionError("--groups and --rank contradict each other; pass one of them")
    if recipe.groups is not None:
        return _exactly(recipe.groups, walk(sites, starts, ("grouped",)), "--groups")
    if recipe.rank is not None:
        first = next(iter(walk(sites, recipe.rank, ("lowrank",))), None)
        return _exactly(-(-recipe.rank // 8) * 8, [first] if first else [], "--rank")
    wanted = ("lowrank", "grouped") if recipe.method == "auto" else (recipe.method,)
    candidates = list(walk(sites, starts, wanted))
    if recipe.exact_target:
        rank = -(-max(starts.values()) // 8) * 8
        groups = min(groups_for_rank(site, starts[site.name]) for site in sites)
        settings = {"lowrank": rank, "grouped": groups}
        candidates = [c for c in candidates if settings[c.method] == c.setting]
        if not candidates:
            raise OptionError(
                f"nothing at the target's own rank {rank} (groups {groups}) is smaller than the"
                " layers; leave out --exact-target, lower --rank-target, or pass"
                " --rank-criterion energy"
            )
    if not candidates:
        advice = "there is nothing to gain" if recipe.method == "auto" else "pass --method auto"
        raise OptionError(f"no {recipe.method} surgery makes the upsampler smaller; {advice}")
    return candidates


def _exactly(setting: int, offered: Any, option: str) -> list[Candidate]:
    candidates = list(offered)
    found = [c for c in candidates if c.setting == setting]
    if not found:
        valid = ", ".join(str(c.setting) for c in candidates)
        below = " or less" if option == "--rank" else ""
        advice = f"choose {valid}{below}" if valid else "nothing does"
        raise OptionError(f"{option} {setting} does not make the upsampler smaller; {advice}")
    return found


def select(candidates: list[Candidate], recipe: CompressRecipe) -> Candidate:
    """Take the fastest within the budget; a setting that was asked for has none to keep."""
    if recipe.is_forced:
        return choose(candidates, math.inf)
    return choose(candidates, recipe.max_psnr_drop, recipe.max_sam_drop, recipe.method)


def calibrate(
    recipe: CompressRecipe,
    workload: Workload,
    sites: Sequence[Site],
    spectra: Mapping[str, Spectrum],
) -> CalibratedModel:
    """Gather what the closed forms need of the training data, and decompose each site once."""
    moments = None
    if recipe.init == "data":
        patches = shuffled_patches(workload, recipe.seed)
        moments = all_moments(workload.model, sites, patches, CALIBRATION_WINDOWS)
    shared = {
        site.name: factorise(workload.model, site, moments[site.name] if moments else None)
        for site in sites
    }
    return CalibratedModel(workload, sites, spectra, moments, shared)


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
    recipe: CompressRecipe,
    folder: RunFolder,
    calibrated: CalibratedModel,
    candidates: list[Candidate],
) -> list[Candidate]:
    """Fill in the candidates' cost, drop on validation and latency; once a run."""

    asked = [(one.method, one.setting, one.settings) for one in candidates]

    def planned(found: list[Candidate]) -> bool:
        complete = all(None not in vars(one).values() for one in found)
        return complete and [(c.method, c.setting, c.settings) for c in found] == asked

    def compute() -> list[dict[str, Any]]:
        workload = calibrated.workload
        before = evaluate(workload.model, workload.scene, "validation")
        tile = workload.example(recipe.latency_tile)
        threads = recipe.threads or torch.get_num_threads()
        original = teacher_onnx(folder, tile, workload.model)
        calls: dict[str, Callable[[], object]] = {}
        families: dict[tuple[str, ...], tuple[Path, nn.Module]] = {}
        for candidate in track(candidates, "measure candidates"):
            student = calibrated.operate(candidate)
            loss = quality_drop(before, student, workload)
            candidate.psnr_drop, candidate.sam_drop = loss["psnr_drop"], loss["sam_drop"]
            cost = count(student, tuple(workload.example().shape))
            candidate.params, candidate.macs = cost.params, cost.macs
            candidate.upsampler_params = cost.upsampler_params
            groups = calibrated.groups(candidate)
            family = tuple(sorted(candidate.settings))  # groups change no graph, low ranks do once
            if original is None:
                calls[candidate.label] = in_torch(student, tile)
                continue
            relative = (original, workload.model) if groups else families.get(family)
            path = static_onnx(folder, tile, file_name(candidate), student, relative, groups)
            if not groups:
                families.setdefault(family, (path, student))
            run = session(for_target(path, student, tile), threads)
            calls[candidate.label] = partial(run, tile.numpy())
        with timed_stage("time candidates"):
            timings = measure(calls, REPEATS)
        for candidate in candidates:
            candidate.latency_ms = timings[candidate.label].median_ms
        return [asdict(candidate) for candidate in candidates]

    found: list[Candidate] = folder.remember("candidates", compute, list[Candidate], planned)
    return found
