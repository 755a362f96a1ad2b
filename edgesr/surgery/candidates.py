"""The walk down the ranks: which surgeries are worth measuring, and which measured one to take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from edgesr.errors import OptionError
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.grouped import admissible_groups, grouped, grouped_cost
from edgesr.surgery.lowrank import Factorisation, lowrank, lowrank_cost
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change

_Step = tuple[int, Mapping[str, int]]

METHODS = ("lowrank", "grouped")
RANK_STEPS = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 8)
"""Ranks of the walk: multiples of 8, as vector units and tensor cores want them."""

LATENCY_TIE = 1.10
"""Latencies within this factor of the best count as equal: two runs on a shared machine differ by
as much, and the same recipe must take the same candidate again."""


@dataclass
class Candidate:
    """One possible surgery. What a run measures stays None until the run has measured it.

    ``setting`` is the rank or the number of groups that was aimed at, ``settings`` what each
    site gets (a site that would not shrink is left out). ``upsampler_params`` and
    ``upsampler_macs`` sum over the given sites; ``params`` and ``macs`` are the whole network's.
    ``psnr_drop`` [dB] and ``sam_drop`` [degrees] are the loss against the original: positive is
    worse.
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

    @property
    def label(self) -> str:
        """Short name, such as ``lowrank R=32``."""
        return f"{self.method} {'R' if self.method == 'lowrank' else 'g'}={self.setting}"

    def perform(
        self,
        model: nn.Module,
        sites: Sequence[Site],
        moments: Mapping[str, Moments] | None = None,
        factorisations: Mapping[str, Factorisation] | None = None,
    ) -> tuple[nn.Module, list[Change]]:
        """Operate on every site of the candidate; a new model and what changed in it."""
        changes = []
        for site in sites:
            if site.name not in self.settings:
                continue
            setting, seen = self.settings[site.name], (moments or {}).get(site.name)
            if self.method == "grouped":
                model, change = grouped(model, site, setting, seen)
            else:
                shared = (factorisations or {}).get(site.name)
                model, change = lowrank(model, site, setting, seen, factorisation=shared)
            changes.append(change)
        return model, changes


def walk(
    sites: Site | Sequence[Site],
    start_rank: int | Mapping[str, int],
    methods: Sequence[str] = METHODS,
) -> Iterator[Candidate]:
    """Candidates from large to small, each smaller than the original layers.

    Ranks go from ``start_rank`` (one for all sites, or by site name), rounded up to a multiple of
    8, down through :data:`RANK_STEPS`; group counts go up through the admissible ones. With
    several sites every step sets each of them, a site never above its own start.
    """
    sites = [sites] if isinstance(sites, Site) else list(sites)
    families = {
        "lowrank": lambda: _rank_walk(sites, start_rank),
        "grouped": lambda: _group_walk(sites),
    }
    for method in METHODS:
        seen: list[dict[str, int]] = []
        for setting, wanted in families[method]() if method in methods else ():
            candidate = _candidate(method, setting, wanted, sites)
            if candidate.settings and candidate.settings not in seen:
                seen.append(candidate.settings)
                yield candidate


def _rank_walk(sites: list[Site], start_rank: int | Mapping[str, int]) -> Iterator[_Step]:
    starts = {
        site.name: _round_up(start_rank if isinstance(start_rank, int) else start_rank[site.name])
        for site in sites
    }
    top = max(starts.values())
    for rank in (top, *(step for step in RANK_STEPS if step < top)):
        yield rank, {name: min(rank, start) for name, start in starts.items()}


def _round_up(rank: int) -> int:
    return -(-rank // 8) * 8


def _group_walk(sites: list[Site]) -> Iterator[_Step]:
    choices = {site.name: admissible_groups(site) for site in sites}
    for groups in sorted({g for admissible in choices.values() for g in admissible}):
        fitting = {
            name: [g for g in admissible if g <= groups] for name, admissible in choices.items()
        }
        yield groups, {name: max(counts) for name, counts in fitting.items() if counts}


def _candidate(
    method: str, setting: int, wanted: Mapping[str, int], sites: Sequence[Site]
) -> Candidate:
    """The candidate that gives every site what it is wanted to have, where that is smaller."""
    cost = lowrank_cost if method == "lowrank" else grouped_cost
    settings, params, macs = {}, 0, 0
    for site in sites:
        before = after = (site.params, site.macs)
        if site.name in wanted:
            after = cost(site, wanted[site.name])
        if after[0] < before[0] and after[1] < before[1]:
            settings[site.name] = wanted[site.name]
        else:
            after = before
        params, macs = params + after[0], macs + after[1]
    return Candidate(method, setting, settings, params, macs)


def choose(
    candidates: Sequence[Candidate],
    max_psnr_drop: float,
    max_sam_drop: float | None = None,
    method: str = "auto",
) -> Candidate:
    """The fastest measured candidate within the limits; latencies within 10 % go to fewer params.

    ``method`` is "auto" or one family of :data:`METHODS`. Candidates that lack a latency or a
    drop are passed over. Raises :class:`OptionError` when none stays within the limits.
    """
    if method not in ("auto", *METHODS):
        raise OptionError(f"method must be auto, lowrank or grouped, got {method!r}")
    measured = [
        (candidate, candidate.latency_ms, candidate.psnr_drop, candidate.sam_drop)
        for candidate in candidates
        if method in ("auto", candidate.method)
    ]
    timed = [
        (c, ms, psnr, sam) for c, ms, psnr, sam in measured if ms is not None and psnr is not None
    ]
    if not timed:
        raise OptionError(f"no {method} candidate is smaller than the layers: nothing to choose")
    fitting = [
        (candidate, latency)
        for candidate, latency, psnr, sam in timed
        if psnr <= max_psnr_drop
        and (max_sam_drop is None or (sam is not None and sam <= max_sam_drop))
    ]
    if not fitting:
        closest, _, smallest, _ = min(timed, key=lambda entry: entry[2])
        raise OptionError(
            f"no candidate stays within {max_psnr_drop} dB: {closest.label} loses least with "
            f"{smallest:.3f} dB; raise --max-psnr-drop or train longer"
        )
    fastest = min(latency for _, latency in fitting)
    tied = [candidate for candidate, latency in fitting if latency <= fastest * LATENCY_TIE]
    return min(tied, key=lambda candidate: candidate.upsampler_params)
