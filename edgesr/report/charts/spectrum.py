"""Cumulative spectrum, as Figure 4 of the LKCA-Net paper: how few singular values hold a site."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from edgesr.report.chart import Figure, axis, layout, line
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.model import SpectrumEntry
from edgesr.report.palette import Palette


@register
class CumulativeSpectrum(Chart):
    """One for each site, with the rank that was chosen where the choice is a rank."""

    name, place, several = "spectrum", "site", True
    title = "Cumulative singular values of the upsampler"

    def count(self, shown: Shown) -> int:
        return len(shown.report.spectrum)

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        entry, chosen = shown.report.spectrum[index], shown.report.chosen
        rank = None
        if chosen is not None and chosen.rank is not None:
            rank = (chosen.settings or {}).get(entry.site, chosen.rank)
        return draw_spectrum(entry, palette, rank)


def draw_spectrum(entry: SpectrumEntry, palette: Palette, chosen: int | None = None) -> Figure:
    """Share of the spectrum that the first r values hold: of their sum, and of their squares."""
    values, target = entry.singular_values, entry.target
    curves = (
        ("squared energy", [v * v for v in values], palette.accent, entry.rank.energy),
        ("sum, as in the paper", values, palette.upsampler, entry.rank.sum),
    )
    data: list[dict[str, Any]] = []
    for name, weights, colour, rank in curves:
        whole = sum(weights) or 1.0
        share = [part / whole for part in accumulate(weights, initial=0.0)]
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "y": share,
                "line": {"color": colour, "width": 2.5},
                "hovertemplate": f"{name}<br>first %{{x}} values: %{{y:.1%}}<extra></extra>",
            }
        )  # fmt: skip
        data.append(
            {
                "type": "scatter", "mode": "markers+text", "x": [rank],
                "y": [share[min(rank, len(share) - 1)]], "text": [f"rank {rank}"],
                "textposition": "bottom right", "textfont": {"color": colour, "size": 13},
                "marker": {"color": colour, "size": 9}, "showlegend": False,
                "hovertemplate": f"{target:.0%} of the {name}: rank {rank}<extra></extra>",
                "cliponaxis": False,
            }
        )  # fmt: skip
    lines = [line(palette.muted, y=target)]
    notes = [
        {
            "xref": "paper", "x": 1, "y": target, "text": f"target {target:.0%}", "yshift": 9,
            "showarrow": False, "xanchor": "right", "font": {"color": palette.muted, "size": 12},
        }
    ]  # fmt: skip
    if chosen is not None:
        lines.append(line(palette.good, x=chosen))
        notes.append(
            {
                "x": chosen, "y": 0.06, "text": f"chosen: rank {chosen}", "showarrow": False,
                "xanchor": "left" if chosen < 0.7 * len(values) else "right", "xshift": 7,
                "font": {"color": palette.good, "size": 13},
            }
        )  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            palette,
            380,
            shapes=lines,
            annotations=notes,
            showlegend=True,
            xaxis=axis(palette, "singular values kept", range=[0, len(values) * 1.02]),
            yaxis=axis(palette, "share of the spectrum", range=[0, 1.03], tickformat=".0%"),
        ),
    }
