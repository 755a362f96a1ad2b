"""The search: propose a design, build it, measure it, heal it shortly; all trials are kept."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgesr_export.paired import compare
from edgesr_export.runner import open_runner, unavailable
from edgesr_export.targets import runtimes
from torch import nn

from edgesr.compress.candidates import MARGIN, REPEATS, CalibratedModel, Call
from edgesr.compress.search.budget import MORE, Budget, choose, front
from edgesr.compress.search.design import Design, build, label, survey
from edgesr.compress.search.options import SearchOptions
from edgesr.compress.search.sampler import propose
from edgesr.compress.search.trial import Trial, against_the_best
from edgesr.compress.timing_files import for_target, static_onnx
from edgesr.deploy.stage import TEACHER
from edgesr.distill.trainer import TrainResult, train
from edgesr.errors import OptionError
from edgesr.evaluation.cost import count
from edgesr.evaluation.drop import BlockFigures, block_figures, drop_between, worst
from edgesr.evaluation.latency import measure
from edgesr.progress import log, shows_bars, track
from edgesr.stored import Remember, at_once
from edgesr.surgery import Candidate, changes_of

UPSAMPLERS = 6  # the smallest candidates that a search chooses among
HOPELESS = 1.25  # share of the latency limit beyond which a design is not finetuned
FINALS = 4  # whole trainings of designs that missed the quality after the short one

Finish = Callable[[Trial, nn.Module], TrainResult]
"""Trains a design to the end, given its network in closed form."""


@dataclass(frozen=True)
class Search:
    """What a search has tried and what it took.

    Attributes:
        trials: all of them, in order.
        chosen: the one that is taken, trained to the end.
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
        self.backbone = survey(calibrated, pool[-1], options.seed, remember)
        self.tile = calibrated.workload.example(options.tile)
        self.before = block_figures(calibrated.workload.model, calibrated.workload.scene)

    def build(self, design: Design) -> nn.Module:
        return build(self.calibrated, self.pool, self.backbone, design)

    def attempt(self, number: int, design: Design) -> Trial:
        """Build a design and measure it; heal it unless a limit on cost rules it out."""
        student = self.build(design)
        changes = changes_of(student)
        calibrated = self.calibrated
        cost = count(student, tuple(calibrated.workload.example().shape), calibrated.layers)
        trial = Trial(
            number,
            design,
            label(self.pool, self.backbone, design, changes),
            changes,
            cost.params,
            cost.upsampler_params,
            cost.macs,
            start=self.drop(self.figures(student)),
        )
        if self.budget.cost(trial.costs()) > 1:
            return trial
        timing = measure({"": self.call(trial, student)}, REPEATS)[""]
        trial = replace(trial, latency_ms=timing.median_ms)
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
        figures = self.figures(student)
        windows = {"psnr": figures.psnr.tolist(), "sam": figures.sam.tolist()}
        return replace(trial, finetuned=self.drop(figures), windows=windows)

    def figures(self, student: nn.Module) -> BlockFigures:
        """On budget windows."""
        return block_figures(student, self.calibrated.workload.scene)

    def drop(self, figures: BlockFigures) -> dict[str, float]:
        """Against the original network."""
        return drop_between(self.before, figures, self.budget.confidence)

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

    def call(self, trial: Trial, student: nn.Module | None = None) -> Call:
        return partial(self.runner(trial, student), self.tile.numpy())

    def faster(self, first: Trial, second: Trial) -> bool:
        """Whether the second is shown to be faster, called in turn with the first; once a run."""

        def compute() -> bool:
            return compare(self.call(first), self.call(second), margin=MARGIN).verdict > 0

        name = f"faster-{first.number}-{second.number}"
        found: bool = self.remember(name, compute, bool, lambda _: True)
        return found


def search(
    options: SearchOptions,
    calibrated: CalibratedModel,
    candidates: Sequence[Candidate],
    alone: Candidate,
    teacher: nn.Module,
    scratch: Path,
    finish: Finish,
    remember: Remember = at_once,
) -> tuple[Search, TrainResult]:
    """Try designs of the whole network within a budget, and train one to the end.

    Args:
        options: the budget, the runtime, the number of trials and the seed.
        calibrated: the original network.
        candidates: measured surgeries on the upsampler.
        alone: the one that is taken where the upsampler is all that is made smaller; the first
            trial is this.
        teacher: network to distil from.
        scratch: folder for ONNX files; with that of the uncompressed network, if it has one.
        finish: the whole training of a design.
        remember: keeps the trials, so that an interrupted search goes on as if it had not been.

    Returns:
        The search, and the training of the chosen network.

    Raises:
        OptionError: nothing keeps to the limits on cost, or Optuna is not installed.
        ExportError: the runtime cannot run here.
    """
    pool = _pool(options, candidates, alone)
    bench = _Bench(options, calibrated, pool, teacher, scratch, remember)
    lengths = bench.backbone.lengths(len(pool))
    firsts = bench.backbone.first_designs(pool.index(alone))
    trials: list[Trial] = []
    started = time.perf_counter()
    for number in range(options.trials):
        design: Design | None = firsts[number] if number < len(firsts) else None
        design = design or propose(trials, lengths, bench.budget, options.seed)
        if design is None:
            break  # every design was tried
        trial = _remembered(bench, number, design)
        trials.append(trial)
        _say(trial, options.trials, time.perf_counter() - started)
    trials = against_the_best(_timed_again(bench, trials), bench.budget.confidence)
    trials, chosen, training = _finished(bench, trials, finish)
    return Search(trials, chosen, pool, bench.backbone.ranking, bench.runtime), training


def _finished(
    bench: _Bench, trials: list[Trial], finish: Finish
) -> tuple[list[Trial], Trial, TrainResult]:
    """Train the best to the end, and the next best where it misses the quality, until one holds.

    What a whole training has won tells what it may win for others. Of those that missed the quality
    after their short training, too, at most :data:`FINALS` are trained. Where none holds, the one
    closest to it is taken.
    """
    budget, left, done = bench.budget, list(trials), list[tuple[Trial, TrainResult]]()
    more = MORE
    while not done or any(budget.may_hold(trial, more) for trial in left):
        trial = choose(left, budget, bench.faster, more)
        training = finish(trial, bench.build(trial.design))
        ended = replace(trial, finished=bench.drop(bench.figures(training.model)))
        trials = [ended if one is trial else one for one in trials]
        left.remove(trial)
        if budget.holds(ended):
            return trials, ended, training
        log(
            f"{ended.label}: {_quality(ended)} once trained to the end, more than the budget allows"
        )
        done.append((ended, training))
        more = ended.won_on_top()
        if len(done) >= FINALS:
            left = [one for one in left if budget.holds(one)]
    ended, training = min(done, key=lambda one: budget.excess(one[0]))
    return trials, ended, training


def missing(runtime: str) -> str:
    """What a search on ``runtime`` needs and lacks here; empty where it can run."""
    if importlib.util.find_spec("optuna") is None:
        return "a search needs optuna, which is not installed; install the extra 'search'"
    reason = unavailable(runtime)
    return reason and f"--runtime {runtime} cannot run here: {reason}"


def require_quality(found: Search, budget: Budget) -> None:
    """Refuse a chosen design that does not reach the quality even when it is trained to the end.

    Raises:
        OptionError: its loss on budget windows exceeds a limit.
    """
    drop = found.chosen.drop
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


def _say(trial: Trial, total: int, spent: float) -> None:
    """One line on a trial; ``spent`` seconds went into it and those before it."""
    latency = "" if trial.latency_ms is None else f", {trial.latency_ms:.1f} ms"
    quality = _quality(trial) if trial.finetuned else "beyond the budget, not trained"
    done = trial.number + 1
    left = f", about {spent / done * (total - done):.0f} s left" if done < total else ""
    log(
        f"trial {trial.number} ({done}/{total}): {trial.label}:"
        f" {trial.macs / 1e9:.4f} G MACs{latency}, {quality} ({spent:.0f} s{left})"
    )


def _quality(trial: Trial) -> str:
    """What a trial gains, or loses, and how much it may lose."""
    most = f" (at worst {-trial.drop['psnr_high']:+.3f})" if "psnr_high" in trial.drop else ""
    return f"{-trial.drop['psnr_drop']:+.3f} dB{most}"


def _timed_again(bench: _Bench, trials: Sequence[Trial]) -> list[Trial]:
    """Latencies of all finetuned trials in turn: those of the search itself lie minutes apart."""
    finetuned = {trial.number for trial in trials if trial.finetuned is not None}

    def compute() -> dict[str, float]:
        calls = {
            str(trial.number): bench.call(trial) for trial in trials if trial.number in finetuned
        }
        if not calls:
            return {}
        timings = measure(calls, REPEATS, watch=partial(track, text="time the trials in turn"))
        return {name: timing.median_ms for name, timing in timings.items()}

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
