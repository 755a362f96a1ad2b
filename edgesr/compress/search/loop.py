"""The search: propose a design, build it, measure it, heal it shortly; all trials are kept."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgesr_export.runner import open_runner, unavailable
from edgesr_export.targets import runtimes
from torch import nn

from edgesr.compress.candidates import REPEATS, CalibratedModel, quality_drop
from edgesr.compress.search.budget import Budget, choose, front
from edgesr.compress.search.design import Design, build, label, survey
from edgesr.compress.search.options import SearchOptions
from edgesr.compress.search.sampler import propose
from edgesr.compress.search.trial import Trial
from edgesr.compress.timing_files import TEACHER, for_target, static_onnx
from edgesr.distill.trainer import train
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.drop import block_figures, worst
from edgesr.evaluation.latency import measure
from edgesr.loading.workload import Workload
from edgesr.progress import log, shows_bars, timed_stage
from edgesr.stored import Remember, at_once
from edgesr.surgery import Candidate, changes_of

UPSAMPLERS = 6  # the smallest candidates that a search chooses among
HOPELESS = 1.25  # share of the latency limit beyond which a design is not finetuned


@dataclass(frozen=True)
class Search:
    """What a search has tried and what it took.

    Attributes:
        trials: all of them, in order.
        chosen: the one that is trained to the end.
        pool: surgeries on the upsampler that designs count, from large to small.
        blocks: removable blocks with their effect, as :class:`Backbone` ranks them.
        runtime: what latency was measured on; "torch" for a network that ONNX cannot express.
    """

    trials: list[Trial]
    chosen: Trial
    pool: Sequence[Candidate]
    blocks: Sequence[tuple[str, float]]
    runtime: str

    @property
    def upsampler(self) -> Candidate:
        """Of the chosen one."""
        return self.pool[self.chosen.design.upsampler]

    @property
    def front(self) -> list[Trial]:
        """The trials that no other beats in latency, MACs and loss at once."""
        return front(self.trials)


class _Bench:
    """Everything that stays the same from trial to trial."""

    def __init__(
        self,
        options: SearchOptions,
        calibrated: CalibratedModel,
        pool: Sequence[Candidate],
        teacher: nn.Module,
        scratch: Path,
        remember: Remember,
    ) -> None:
        self.options, self.calibrated, self.pool = options, calibrated, pool
        self.teacher, self.scratch, self.remember = teacher, scratch, remember
        self.budget = options.budget
        self.runtime = options.runtime if (scratch / f"{TEACHER}.onnx").is_file() else "torch"
        self.backbone = survey(calibrated, options.seed, remember)
        self.tile = calibrated.workload.example(options.latency_tile)
        self.before = block_figures(calibrated.workload.model, calibrated.workload.scene)

    def build(self, design: Design) -> nn.Module:
        return build(self.calibrated, self.pool, self.backbone, design)

    def attempt(self, number: int, design: Design) -> Trial:
        """Build a design and measure it; heal it unless a limit on cost rules it out."""
        student = self.build(design)
        changes = changes_of(student)
        cost = count(student, tuple(self.calibrated.workload.example().shape))
        trial = Trial(
            number,
            design,
            label(self.pool, self.backbone, design, changes),
            changes,
            cost.params,
            cost.upsampler_params,
            cost.macs,
            start=self.drop(student),
        )
        if self.budget.cost(trial.costs()) > 1:
            return trial
        timing = self.time({"": self.runner(trial, student)})
        trial = replace(trial, latency_ms=timing[""])
        if self.budget.cost(trial.costs()) > HOPELESS:
            return trial
        if self.options.training.epochs:
            student = train(
                student,
                [self.calibrated.workload.scene],
                self.options.training,
                teacher=self.teacher,
                sites=self.calibrated.sites,
                progress=shows_bars(),
            ).model
        return replace(trial, finetuned=self.drop(student))

    def drop(self, student: nn.Module) -> dict[str, float]:
        workload = self.calibrated.workload
        return quality_drop(self.before, student, workload, self.budget.confidence)

    def runner(self, trial: Trial, student: nn.Module | None = None) -> Any:
        """The design on the chosen runtime; latency does not depend on the weights."""
        if self.runtime == "torch":
            return open_runner(
                student or self.build(trial.design), self.runtime, threads=self.options.threads
            )
        target = runtimes()[self.runtime].target
        path = self.scratch / f"trial-{trial.number}.{target}.onnx"
        if not path.exists():
            student = student or self.build(trial.design)
            plain = static_onnx(self.scratch, self.tile, f"trial-{trial.number}", student)
            path = for_target(plain, student, self.tile, target)
        return open_runner(path, self.runtime, threads=self.options.threads)

    def time(self, runners: dict[Any, Any]) -> dict[Any, float]:
        image = self.tile.numpy()
        timings = measure({k: partial(run, image) for k, run in runners.items()}, REPEATS)
        return {name: timing.median_ms for name, timing in timings.items()}


def search(
    options: SearchOptions,
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    alone: Candidate,
    teacher: nn.Module,
    scratch: Path,
    remember: Remember = at_once,
) -> tuple[Search, nn.Module]:
    """Try designs of the whole network within a budget.

    Args:
        options: the budget, the runtime, the number of trials and the seed.
        calibrated: the original network.
        candidates: measured surgeries on the upsampler.
        alone: the one that is taken where the upsampler is all that is made smaller; the first
            trial is this.
        teacher: network to distil from.
        scratch: folder for ONNX files; with that of the uncompressed network, if it has one.
        remember: keeps the trials, so that an interrupted search goes on as if it had not been.

    Returns:
        The search, and the chosen network in closed form.

    Raises:
        OptionError: nothing keeps to the limits on cost, or Optuna is not installed.
        ExportError: the runtime cannot run here.
    """
    pool = _pool(options, candidates, alone)
    bench = _Bench(options, calibrated, pool, teacher, scratch, remember)
    lengths = bench.backbone.lengths(len(pool))
    firsts = bench.backbone.first_designs(pool.index(alone))
    trials: list[Trial] = []
    for number in range(options.trials):
        design: Design | None = firsts[number] if number < len(firsts) else None
        design = design or propose(trials, lengths, bench.budget, options.seed)
        if design is None:
            break  # every design was tried
        started = time.perf_counter()
        trial = _remembered(bench, number, design)
        trials.append(trial)
        _say(trial, options.trials, time.perf_counter() - started)
    trials = _timed_again(bench, trials)
    chosen = choose(trials, bench.budget)
    found = Search(trials, chosen, pool, bench.backbone.ranking, bench.runtime)
    return found, bench.build(chosen.design)


def missing(runtime: str) -> str:
    """What a search on ``runtime`` needs and lacks here; empty where it can run."""
    if importlib.util.find_spec("optuna") is None:
        return "a search needs optuna, which is not installed; install the extra 'search'"
    reason = unavailable(runtime)
    return reason and f"--runtime {runtime} cannot run here: {reason}"


def require_quality(found: Search, budget: Budget, student: nn.Module, workload: Workload) -> None:
    """Refuse a chosen design that does not reach the quality even when it is trained to the end.

    Raises:
        OptionError: its loss on budget windows exceeds a limit.
    """
    before = block_figures(workload.model, workload.scene)
    drop = quality_drop(before, student, workload, budget.confidence)
    if budget.quality(drop) > 0:
        raise OptionError(
            f"no design of {len(found.trials)} keeps to every limit: {found.chosen.label} comes"
            f" closest and loses {worst(drop, 'psnr'):.3f} dB and {worst(drop, 'sam'):.3f} degrees"
            " on budget windows, at the upper end of their intervals; raise --max-psnr-drop or a"
            " limit on cost, lower --confidence, or train longer"
        )


def _pool(
    options: SearchOptions, candidates: Sequence[Candidate], alone: Candidate
) -> list[Candidate]:
    """The upsamplers that designs choose among: small ones within the limits, large to small."""
    fitting = [
        c
        for c in candidates
        if c.psnr_drop is not None
        and options.method in ("auto", c.method)
        and options.budget.quality(
            {"psnr_drop": c.psnr_drop, "sam_drop": c.sam_drop or 0.0, **c.interval}
        )
        <= 0
    ]
    smallest = sorted(fitting, key=lambda c: c.upsampler_macs)[:UPSAMPLERS]
    if alone not in smallest:
        smallest.append(alone)
    return sorted(smallest, key=lambda c: -c.upsampler_macs)


def _remembered(bench: _Bench, number: int, design: Design) -> Trial:
    trial: Trial = bench.remember(
        f"trial-{number}",
        lambda: bench.attempt(number, design).to_dict(),
        Trial,
        lambda trial: (trial.number, trial.design) == (number, design),
    )
    return trial


def _say(trial: Trial, total: int, seconds: float) -> None:
    latency = "" if trial.latency_ms is None else f", {trial.latency_ms:.1f} ms"
    quality = (
        f"{-trial.drop['psnr_drop']:+.3f} dB"
        if trial.finetuned
        else "beyond the budget, not trained"
    )
    log(
        f"trial {trial.number} ({trial.number + 1}/{total}): {trial.label}:"
        f" {trial.macs / 1e9:.4f} G MACs{latency}, {quality} ({seconds:.0f} s)"
    )


def _timed_again(bench: _Bench, trials: Sequence[Trial]) -> list[Trial]:
    """Latencies of all finetuned trials in turn: those of the search itself lie minutes apart."""
    finetuned = {trial.number for trial in trials if trial.finetuned is not None}

    def compute() -> dict[str, float]:
        with timed_stage("time the trials in turn"):
            runners = {
                str(trial.number): bench.runner(trial)
                for trial in trials
                if trial.number in finetuned
            }
            return bench.time(runners) if runners else {}

    again = bench.remember(
        "trial-times",
        compute,
        dict[str, float],
        lambda found: set(found) == {str(number) for number in finetuned},
    )
    return [
        replace(trial, latency_ms=again[str(trial.number)]) if trial.number in finetuned else trial
        for trial in trials
    ]
