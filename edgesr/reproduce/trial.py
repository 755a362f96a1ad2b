"""One training or surgery whose result stands in a row of a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

BICUBIC = "bicubic"
"""Name of the row without a network."""


@dataclass(frozen=True)
class SceneSpec:
    """A cube by name and how it is divided; None takes what the protocol says.

    ``bands`` is what :func:`edgesr.cube.make_scene` takes, or ``spread:N``: N of the clean bands,
    evenly spaced.
    """

    cube: str
    protocol: str = "auto"
    scale: int = 4
    patch: int | None = None
    bands: str | None = None
    normalisation: str | None = None
    degradation: str | None = None

    def describe(self) -> dict[str, Any]:
        """JSON-able form, without what is left to the protocol."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Surgery:
    """A closed-form replacement of the upsampler: ``lowrank`` with R, or ``grouped`` with g."""

    method: str
    setting: int


@dataclass(frozen=True)
class Trial:
    """Everything that decides one result.

    Attributes:
        scene: the data.
        network: registered name, or :data:`BICUBIC`.
        config: keyword arguments of the network, without bands and scale.
        training: fields of :class:`edgesr.distill.config.TrainConfig`, without seed and device;
            empty for no training.
        seed: of the initial weights and of the patches.
        teacher: trained network to distil from.
        source: trained network to operate on, instead of random weights.
        surgery: what to do to ``source``; None starts from its weights as they are.
        convention: of the metrics, see :mod:`edgesr.evaluation.metrics`.
    """

    scene: SceneSpec
    network: str
    config: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    teacher: Trial | None = None
    source: Trial | None = None
    surgery: Surgery | None = None
    convention: str = "standard"

    def but(self, **changes: Any) -> Trial:
        """Return the same trial with some fields changed; those of ``training`` are added to it."""
        if "training" in changes:
            changes["training"] = {**self.training, **changes["training"]}
        return replace(self, **changes)

    def describe(self) -> dict[str, Any]:
        """JSON-able form; other trials by key, what is empty left out."""
        described = {
            "scene": self.scene.describe(),
            "network": self.network,
            "config": dict(self.config),
            "training": dict(self.training),
            "seed": self.seed,
            "teacher": self.teacher and self.teacher.key,
            "source": self.source and self.source.key,
            "surgery": self.surgery and vars(self.surgery),
            "convention": self.convention,
        }
        return {name: value for name, value in described.items() if value not in (None, {})}

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits; the same for the same trial, in any process."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def needs(self) -> list[Trial]:
        """Return the trials that must be trained before this one."""
        return [trial for trial in (self.source, self.teacher) if trial is not None]
