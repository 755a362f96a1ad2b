"""The one registry of passes; every pass of :mod:`edgesr.surgery.passes` registers itself here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edgesr_export.registry import Registry

if TYPE_CHECKING:
    from edgesr.surgery.passes._base import Pass

P = TypeVar("P", bound="type[Pass]")


def register(kind: P) -> P:
    """Register the decorated class."""
    PASSES.add(kind.name, kind())
    return kind


PASSES: Registry[Pass] = Registry(
    "pass", "edgesr.surgery.passes", "edgesr.passes", lambda _, kind: register(kind)
)
"""Passes by name, those of installed packages among them."""
