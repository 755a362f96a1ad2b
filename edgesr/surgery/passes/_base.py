"""What a pass is, and the registry of all."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, TypeVar

from edgesr_export.registry import Registry


class Pass(ABC):
    """One way to make a layer smaller.

    Attributes:
        name: in recipes, reports and weights files; also the name of the file that it is in.
        title: for people, such as "low-rank".
        letter: of its setting in a label, such as "R" in ``low-rank R=32``.
        setting: key of its setting in reports and changes, such as "rank".
        colours: of its points in charts, on a light and on a dark page.
        marker: of its points, one of Plotly's symbols.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    letter: ClassVar[str]
    setting: ClassVar[str]
    colours: ClassVar[tuple[str, str]] = ("#5f6b7a", "#9aa7b8")
    marker: ClassVar[str] = "diamond"

    @classmethod
    def label(cls, setting: int) -> str:
        """Short name of the pass with a setting: ``low-rank R=32``."""
        return f"{cls.title} {cls.letter}={setting}"


P = TypeVar("P", bound=type[Pass])


def register(kind: P) -> P:
    """Register the decorated class."""
    PASSES.add(kind.name, kind())
    return kind


PASSES: Registry[Pass] = Registry("pass", "edgesr.surgery.passes", "edgesr.passes", register)
