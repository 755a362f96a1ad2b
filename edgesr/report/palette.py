"""Colours of the report page, for both themes; style sheet and charts take them from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Palette:
    """Colours as ``#rrggbb``.

    Attributes:
        ink, muted: text and secondary text, readable on ``background`` and ``surface``.
        line: hairlines and the grid of charts.
        accent: links, focus, and the student wherever it is drawn.
        good, warn: what was won, and what needs a second look.
        backbone, upsampler: the two parts of a network, as in the figures of ``edgesr analyze``.
        series: colour of each picture, network or precision that has one of its own.
        dark: whether ``background`` is.
    """

    background: str
    surface: str
    ink: str
    muted: str
    line: str
    accent: str
    good: str
    warn: str
    backbone: str
    upsampler: str
    series: Mapping[str, str]
    dark: bool = False

    def of(self, name: str) -> str:
        """Colour of a picture, network or precision; the muted ink for unknown ones."""
        return self.series.get(name, self.muted)

    def pick(self, colours: tuple[str, str]) -> str:
        """The one of two colours that is for this background: on light, on dark."""
        return colours[self.dark]

    def plain(self) -> dict[str, str]:
        """The colours by name, without those of the series."""
        return {name: value for name, value in vars(self).items() if isinstance(value, str)}


LIGHT = Palette(
    background="#ffffff",
    surface="#f4f6f8",
    ink="#17232e",
    muted="#566573",
    line="#d9e0e6",
    accent="#1c6ea4",
    good="#1f7a4d",
    warn="#a85a00",
    backbone="#a9bcc9",
    upsampler="#c53f50",
    series=MappingProxyType(
        {
            "ground truth": "#17232e",
            "bicubic": "#8b98a5",
            "teacher": "#c9801f",
            "student": "#1c6ea4",
            "alone": "#b0507f",
            "paper": "#2f8f6b",
            "int8": "#8b4aa8",
            "fp32": "#1c6ea4",
            "fp16": "#1b8796",
            "bf16": "#1b8796",
        }
    ),
)
DARK = Palette(
    dark=True,
    background="#10171e",
    surface="#19232d",
    ink="#e6ecf1",
    muted="#9dacb9",
    line="#2d3a46",
    accent="#6cb4e4",
    good="#63c08f",
    warn="#e5a14d",
    backbone="#52687a",
    upsampler="#e8697a",
    series=MappingProxyType(
        {
            "ground truth": "#e6ecf1",
            "bicubic": "#7f8d9a",
            "teacher": "#e5a14d",
            "student": "#6cb4e4",
            "alone": "#e08bb4",
            "paper": "#5cc29a",
            "int8": "#c58be0",
            "fp32": "#6cb4e4",
            "fp16": "#58c4d2",
            "bf16": "#58c4d2",
        }
    ),
)
THEMES = MappingProxyType({"light": LIGHT, "dark": DARK})
