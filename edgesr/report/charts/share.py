"""Parameter share, as Figure 1 of the LKCA-Net paper: where the parameters of each network are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesr.report.chart import Figure, axis, layout, room_for_numbers
from edgesr.report.charts._base import Chart, Shown, register
from edgesr.report.palette import Palette
from edgesr.report.wording import network_rows, quantity


@dataclass(frozen=True)
class Share:
    """Parameters of one network: its label, the upsampling layers, all the rest."""

    label: str
    backbone: int
    upsampler: int

    @property
    def total(self) -> int:
        """Parameters of the whole network."""
        return self.backbone + self.upsampler


@register
class ParameterShare(Chart):
    """A bar a network, as long as it has parameters, divided into backbone and upsampler."""

    name, place = "share", "parameters"
    title = (
        "Parameters of each network, divided into backbone and upsampler; the figures are in the"
        " table above"
    )

    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        rows = [(row.name, row.network) for row in network_rows(shown.report)]
        shares = [
            Share(name, network.params - network.upsampler_params, network.upsampler_params)
            for name, network in rows
        ]
        return draw_shares(shares, palette)


def draw_shares(shares: Sequence[Share], palette: Palette) -> Figure:
    """Draw a bar for each network, the first on top."""
    names = [share.label for share in shares]
    largest = max(share.total for share in shares)
    parts = (
        ("backbone", [share.backbone for share in shares], palette.backbone),
        ("upsampler", [share.upsampler for share in shares], palette.upsampler),
    )
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": names,
            "x": values,
            "marker": {"color": colour},
            "text": [_inside(v, s.total, largest) for v, s in zip(values, shares, strict=True)],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "textfont": {"color": palette.background if part == "upsampler" else palette.ink},
            "hovertemplate": "%{y}, " + part + ": %{x:,d} parameters<extra></extra>",
        }
        for part, values, colour in parts
    ]
    ends = [
        {
            "x": share.total, "y": share.label,
            "text": f"<b>{quantity(share.total)}</b>{_outside(share, largest)}",
            "showarrow": False, "xanchor": "left", "xshift": 8, "font": {"color": palette.ink},
        }
        for share in shares
    ]  # fmt: skip
    return {
        "data": bars,
        "layout": layout(
            palette,
            92 + 46 * len(shares),
            barmode="stack",
            margin=room_for_numbers(40),
            bargap=0.38,
            showlegend=True,
            annotations=ends,
            xaxis=axis(
                palette,
                "parameters",
                range=[0, largest],
                tickformat="~s",
                nticks=6,
                showgrid=False,
            ),
            yaxis=axis(palette, autorange="reversed", showgrid=False, tickfont_color=palette.ink),
        ),
    }


def _inside(value: int, total: int, largest: int) -> str:
    return f"{value / total:.0%}" if value > 0.06 * largest else ""


def _outside(share: Share, largest: int) -> str:
    """The upsampler's share, where its part of the bar is too narrow for it."""
    if _inside(share.upsampler, share.total, largest):
        return ""
    return f"  upsampler {share.upsampler / share.total:.1%}"
