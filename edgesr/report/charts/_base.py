"""What a chart is, and the registry of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from edgesr_export.registry import Registry

from edgesr.report.board_results import BoardResult
from edgesr.report.chart import Figure, escaped, in_both_themes
from edgesr.report.model import Report
from edgesr.report.palette import Palette
from edgesr.report.profiles import PlacedProfile

SECTIONS = ("networks", "structure", "choice", "search", "time", "board", "evidence")
"""Sections of the page: a chart that is placed in one stands at its end."""
INNER = (
    "parameters", "site", "candidates", "designs", "timings", "operators", "layers", "boards",
    "training",
)  # fmt: skip
"""Places within the sections, each beside the text that speaks of its chart."""


@dataclass(frozen=True)
class Shown:
    """What a page shows: a report, results that came back from boards, and all profiles."""

    report: Report
    boards: Sequence[BoardResult] = ()
    profiles: Sequence[PlacedProfile] = ()


class Chart(ABC):
    """One chart of the page, or one for each of several things.

    Attributes:
        name: the name of its file too.
        title: what it shows, for those who cannot see it.
        place: where it stands, of :data:`SECTIONS` or :data:`INNER`.
        heading: above it; empty where the page has one already.
        note: below it, such as what its figures hold for; empty for none.
        several: whether there may be more than one, so that their ids are numbered.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    place: ClassVar[str]
    heading: ClassVar[str] = ""
    note: ClassVar[str] = ""
    several: ClassVar[bool] = False

    def count(self, shown: Shown) -> int:
        """How many there are: 0 where it does not apply."""
        return 1

    @abstractmethod
    def draw(self, shown: Shown, palette: Palette, index: int = 0) -> Figure:
        """The figure in one theme's colours; names in ``report`` and ``profiles`` are escaped."""

    def label(self, shown: Shown, index: int) -> str:
        """The title of one of several."""
        return self.title


@dataclass(frozen=True)
class Drawn:
    """A chart as the page takes it: ``themes`` maps ``light`` and ``dark`` to its figure."""

    chart: Chart
    index: int
    label: str
    themes: dict[str, Figure]

    @property
    def id(self) -> str:
        """Of its element on the page."""
        name = self.chart.name.replace("_", "-")
        return f"{name}-{self.index}" if self.chart.several else name


C = TypeVar("C", bound=type[Chart])


def register(kind: C) -> C:
    """Register the decorated class.

    Raises:
        ValueError: the page has no such place.
    """
    places = SECTIONS + INNER
    if kind.place not in places:
        raise ValueError(f"the page has no place {kind.place!r}; choose one of {', '.join(places)}")
    CHARTS.add(kind.name, kind())
    return kind


CHARTS: Registry[Chart] = Registry(
    "chart", "edgesr.report.charts", "edgesr.charts", lambda _, kind: register(kind)
)


def draw_charts(shown: Shown) -> list[Drawn]:
    """Draw every registered chart that applies, by name."""
    profiles = [PlacedProfile(escaped(p.place), escaped(p.profile)) for p in shown.profiles]
    safe = Shown(escaped(shown.report), shown.boards, profiles)
    return [
        Drawn(
            chart,
            index,
            chart.label(shown, index),
            in_both_themes(lambda palette, c=chart, i=index: c.draw(safe, palette, i)),  # type: ignore[misc]
        )
        for chart in CHARTS.load().values()
        for index in range(chart.count(shown))
    ]
