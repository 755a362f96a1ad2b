"""The one registry of distillations; each of :mod:`edgesr.distill.methods` registers itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edgesr_export.registry import Registry

if TYPE_CHECKING:
    from edgesr.distill.methods._base import Distillation

D = TypeVar("D", bound="type[Distillation]")


def register(kind: D) -> D:
    """Register the decorated class."""
    DISTILLATIONS.add(kind.name, kind())
    return kind


DISTILLATIONS: Registry[Distillation] = Registry(
    "distillation",
    "edgesr.distill.methods",
    "edgesr.distillations",
    lambda _, kind: register(kind),
)
"""Distillations by name, those of installed packages among them."""
