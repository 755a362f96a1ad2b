"""The walk through the passes' settings: which are worth measuring, which measured one to take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edgesr.errors import OptionError
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.passes import PASSES, UpsamplerPass, passes_of
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change

Prepared = Mapping[str, Mapping[str, Any]]
"""What the settings of a pass share, by the pass's name and the site's."""

LATENCY_TIE = 1.10
"""Latencies within this factor count as equal where nothing but medians is known."""

Faster = Callable[["Candidate", "Candidate"], bool]
"""Whether the second is shown to be faster than the first."""


@dataclass
class Candidate:
    """One possible surgery. What a run measures stays None until the run has measured it.

    ``method`` is the name of the pass, ``setting`` what was aimed at (a rank, say), ``settings``
    what each site gets (a site that would not shrink is left out). ``upsampler_params`` and
    ``upsampler_macs`` sum over the given sites; ``params`` and ``macs`` are the whole network's.
    ``psnr_drop`` [dB] and ``sam_drop`` [degrees] are the loss against the original: positive is
    worse. ``interval`` holds the ends of their intervals by name, such as ``psnr_high``; it is
    empty where there are none. ``folds`` is how many folds of the training part they were measured
    on beside the budget windows.
    """

    method: str
    setting: int
    settings: dict[str, int]
    upsampler_params: int
    upsampler_macs: int
    params: int | None = None
    macs: int | None = None
    latency_ms: float | None = None
    psnr_drop: float | None = None
    sam_drop: float | None = None
    interval: dict[str, float] = field(default_factory=dict)
    folds: int = 0

    @property
    def worst_psnr_drop(self) -> float | None:
        """The upper end of the interval of ``psnr_drop``; itself where there is none."""
        return self.interval.get("psnr_high", self.psnr_drop)

    @property
    def worst_sam_drop(self) -> float | None:
        """The upper end of the interval of ``sam_drop``; itself where there is none."""
        return self.interval.get("sam_high", self.sam_drop)

    @property
    def label(self) -> str:
        """Short name, such as ``lowrank R=32``."""
        return f"{self.method} {upsampler_pass(self.method).letter}={self.setting}"

    def perform(
        self, model: nn.Module, sites: Sequence[Site], prepared: Prepared | None = None
    ) -> tuple[nn.Module, list[Change]]:
        """Operate on every site of the candidate; a new model and what changed in it.

        ``prepared`` is from :func:`prepare`; without it, the closed forms are those of weight
        space.
        """
        found, changes = upsampler_pass(self.method), []
        for site in sites:
            if site.name in self.settings:
                shared = prepared[self.method][site.name] if prepared else None
                model, change = found.apply(model, site, self.settings[site.name], prepared=shared)
                changes.append(change)
        return model, changes


def upsampler_passes() -> dict[str, UpsamplerPass[Any]]:
    """The passes that make upsamplers smaller, by name, in the order of the walk."""
    return passes_of(UpsamplerPass)  # type: ignore[type-abstract]


def upsampler_pass(method: str) -> UpsamplerPass[Any]:
    """One of them; :class:`OptionError` for a name that none of them has."""
    try:
        found = PASSES[method]
    except KeyError:
        found = None
    if not isinstance(found, UpsamplerPass):
        *names, last = ("auto", *upsampler_passes())
        raise OptionError(f"method must be {', '.join(names)} or {last}, got {method!r}")
    return found


def prepare(
    model: nn.Module,
    sites: Sequence[Site],
    methods: Iterable[str],
    moments: Mapping[str, Moments] | None = None,
) -> Prepared:
    """Do once for every site what all candidates of the passes ``methods`` share.

    ``moments`` are those of each site; without them the closed forms are those of weight space.
    """
    seen = moments or {}
    return {
        method: {
            site.name: upsampler_pass(method).prepare(model, site, seen.get(site.name))
            for site in sites
        }
        for method in methods
    }


def walk(
    sites: Site | Sequence[Site],
    start_rank: int | Mapping[str, int],
    methods: Sequence[str] | None = None,
) -> Iterator[Candidate]:
    """Candidates from large to small, each smaller than the original layers.

    Every pass on upsamplers, or those named in ``methods``, goes through its own settings: ranks
    down from ``start_rank`` (one for all sites, or by site name), group counts up through the
    admissible ones. See :meth:`edgesr.surgery.passes.UpsamplerPass.steps`.
    """
    sites = [sites] if isinstance(sites, Site) else list(sites)
    starts = start_rank
    if isinstance(starts, int):
        starts = dict.fromkeys((site.name for site in sites), starts)
    for name, found in upsampler_passes().items():
        seen: list[dict[str, int]] = []
        wanted_here = methods is None or name in methods
        for setting, wanted in found.steps(sites, starts) if wanted_here else ():
            candidate = _candidate(found, setting, wanted, sites)
            if candidate.settings and candidate.settings not in seen:
                seen.append(candidate.settings)
                yield candidate


def _candidate(
    found: UpsamplerPass[Any], setting: int, wanted: Mapping[str, int], sites: Sequence[Site]
) -> Candidate:
    """The candidate that gives every site what it is wanted to have, where that is smaller."""
    settings, params, macs = {}, 0, 0
    for site in sites:
        before = after = (site.params, site.macs)
        if site.name in wanted:
            after = found.cost(site, wanted[site.name])
        if after[0] < before[0] and after[1] < before[1]:
            settings[site.name] = wanted[site.name]
        else:
            after = before
        params, macs = params + after[0], macs + after[1]
    return Candidate(found.name, setting, settings, params, macs)


def finalists(
    candidates: Iterable[Candidate],
    max_psnr_drop: float,
    max_sam_drop: float | None = None,
    method: str = "auto",
) -> list[Candidate]:
    """Of each pass, the measured candidate of least work within the limits; the smallest first.

    Those of one pass differ in one number of one graph, so less work is not slower, whatever a
    noisy clock has said. A drop is within a limit when the upper end of its interval is. ``method``
    is "auto" or the name of one pass. Candidates that lack a drop are passed over.

    Raises:
        OptionError: nothing was measured, or nothing stays within the limits.
    """
    if method != "auto":
        upsampler_pass(method)
    measured = [
        (candidate, candidate.worst_psnr_drop, candidate.worst_sam_drop)
        for candidate in candidates
        if method in ("auto", candidate.method) and candidate.psnr_drop is not None
    ]
    if not measured:
        raise OptionError(f"no {method} candidate is smaller than the layers: nothing to choose")
    fitting = [
        candidate
        for candidate, psnr, sam in measured
        if psnr is not None
        and psnr <= max_psnr_drop
        and (max_sam_drop is None or (sam is not None and sam <= max_sam_drop))
    ]
    if not fitting:
        closest, least, _ = min(measured, key=lambda entry: entry[1] or 0.0)
        raise OptionError(
            f"no candidate stays within {max_psnr_drop} dB: {closest.label} loses least with "
            f"{'up to ' if closest.interval else ''}{least:.3f} dB; raise --max-psnr-drop, "
            "lower --confidence or train longer"
        )

    def work(candidate: Candidate) -> tuple[int, int]:
        return candidate.upsampler_macs, candidate.upsampler_params

    methods = dict.fromkeys(candidate.method for candidate in fitting)
    least_work = [min((c for c in fitting if c.method == name), key=work) for name in methods]
    return sorted(least_work, key=lambda candidate: candidate.upsampler_params)


def choose(
    candidates: Iterable[Candidate],
    max_psnr_drop: float,
    max_sam_drop: float | None = None,
    method: str = "auto",
    faster: Faster | None = None,
) -> Candidate:
    """The fastest of :func:`finalists`; of those that count as equal, the smallest.

    ``faster`` compares two; by default their latencies, of which those within 10 % are equal.
    """
    best, *others = finalists(candidates, max_psnr_drop, max_sam_drop, method)
    for other in others:
        if (faster or _by_medians)(best, other):
            best = other
    return best


def _by_medians(first: Candidate, second: Candidate) -> bool:
    if first.latency_ms is None or second.latency_ms is None:
        return False
    return second.latency_ms * LATENCY_TIE < first.latency_ms
