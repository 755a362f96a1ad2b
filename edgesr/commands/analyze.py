"""``edgesr analyze``: where a network's parameters are, and how few singular values hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from edgesr.errors import ModelError
from edgesr.evaluation.cost import Cost, count
from edgesr.loading.workload import open_workload
from edgesr.models import create_model, is_own
from edgesr.outputs import check_outputs
from edgesr.recipe.recipes import AnalyzeRecipe
from edgesr.report.analysis_page import write_analysis
from edgesr.report.charts.share import Share
from edgesr.report.entries import site_entry, spectrum_entry
from edgesr.report.model import SpectrumEntry
from edgesr.report.wording import quantity
from edgesr.surgery import (
    Site,
    Spectrum,
    changes_of,
    groups_for_rank,
    require_sites,
    spectrum,
)

SCALES = (2, 4, 8)  # of the paper's Figure 1
PAGE = "spectrum.html"


@dataclass(frozen=True)
class Analysis:
    """A network's cost, its upsamplers and their spectra.

    Attributes:
        name: of the network.
        scale: its magnification.
        target: share of the cumulative singular values that ranks are given for.
        cost: parameters and MACs by layer.
        sites: the upsamplers.
        spectra: of each site, by its name.
        shares: parameters of backbone and upsampler, for the paper's Figure 1.
    """

    name: str
    scale: int
    target: float
    cost: Cost
    sites: Sequence[Site]
    spectra: Mapping[str, Spectrum]
    shares: Sequence[Share]

    def spectrum_entries(self) -> list[SpectrumEntry]:
        """The spectrum of each site, in their order, as a report has it."""
        return [
            spectrum_entry(site.name, self.spectra[site.name], self.target) for site in self.sites
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "network": self.name,
            "scale": self.scale,
            "params": self.cost.params,
            "macs": self.cost.macs,
            "macs_input_shape": list(self.cost.input_shape),
            "sites": [
                {**site_entry(site).to_dict(), "spectrum": entry.to_dict()}
                for site, entry in zip(self.sites, self.spectrum_entries(), strict=True)
            ],
        }


def analyze(recipe: AnalyzeRecipe | None = None) -> Analysis:
    """Find the upsamplers of the recipe's network and decompose each.

    Args:
        recipe: the scene and the network; None is the shipped teacher on the embedded cube.

    Raises:
        ModelError: the network has no learnable upsampler, or does not fit the data.
    """
    recipe = recipe or AnalyzeRecipe()
    workload = open_workload(recipe)
    sites = require_sites(workload.model, workload.example())
    return Analysis(
        name=workload.network,
        scale=workload.scene.scale,
        target=recipe.rank_target,
        cost=count(workload.model, tuple(workload.example().shape)),
        sites=sites,
        spectra={site.name: spectrum(workload.model, site) for site in sites},
        shares=_shares(workload.model, workload.scene.scale, tuple(workload.example().shape)),
    )


def _shares(model: nn.Module, scale: int, shape: tuple[int, ...]) -> list[Share]:
    """Return the network's own share; beside other scales where it can be built for them."""
    networks = {scale: model}
    if is_own(model) and not changes_of(model):
        name, config = str(model.name), dict(model.config)  # type: ignore[arg-type]
        for other in SCALES:
            try:
                networks.setdefault(other, create_model(name, **{**config, "scale": other}))
            except ModelError:
                continue
    shares = []
    for factor, network in sorted(networks.items()):
        cost = count(network, shape)
        upsampler = cost.upsampler_params
        shares.append(Share(f"x{factor}", cost.params - upsampler, upsampler))
    return shares


def render(analysis: Analysis) -> str:
    """Lay an analysis out for a terminal."""
    shape = " x ".join(map(str, analysis.cost.input_shape))
    lines = [
        f"{analysis.name} x{analysis.scale}: {quantity(analysis.cost.params)} parameters,"
        f" {quantity(analysis.cost.macs)} MACs at input {shape}"
    ]
    for site in analysis.sites:
        found = analysis.spectra[site.name]
        ranks = {kind: found.rank(analysis.target, kind) for kind in ("sum", "energy")}
        groups = groups_for_rank(site, ranks["sum"])
        kernel = "x".join(map(str, site.kernel))
        lines += [
            "",
            f"{site.name}: {site.kind}, x{site.scale}, {site.in_channels} -> {site.out_channels}"
            f" channels, kernel {kernel}, groups {site.groups}",
            f"  share            {site.param_share:.1%} of the parameters,"
            f" {site.mac_share:.1%} of the MACs",
            f"  matrix           {found.rows} x {found.cols}, effective rank"
            f" {found.effective_rank:.0f}",
            f"  {analysis.target:.0%} of the sum   rank {ranks['sum']} (as published;"
            f" rank -> groups rule: g = {groups})",
            f"  {analysis.target:.0%} of the energy  rank {ranks['energy']}",
        ]
    return "\n".join(lines)


def draw(
    analysis: Analysis, folder: Path, *, overwrite: bool = False, reads: Sequence[Path] = ()
) -> Path:
    """Write the page with the paper's Figure 1 and, for each site, its Figure 4; return it.

    Args:
        analysis: what to draw.
        folder: where the page goes.
        overwrite: replace a page that exists.
        reads: inputs of the analysis, which are never replaced.

    Raises:
        OptionError: the page is an input, exists and ``overwrite`` is not set, or the folder cannot
            be made.
    """
    page = folder / PAGE
    check_outputs([page], reads, overwrite=overwrite, makes_folder=True)
    folder.mkdir(parents=True, exist_ok=True)
    return write_analysis(
        f"{analysis.name} ×{analysis.scale}", analysis.shares, analysis.spectrum_entries(), page
    )
