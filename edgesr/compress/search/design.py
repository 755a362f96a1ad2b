"""Designs: how small the parts of a network are made, and the network that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgesr.compress.candidates import CalibratedModel, shuffled_patches
from edgesr.progress import counted, timed_stage
from edgesr.stored import Remember
from edgesr.surgery import (
    PASSES,
    Candidate,
    Decomposition,
    Site,
    all_moments,
    decompose_all,
    distance_to,
    find_layers,
    shrink_all,
)
from edgesr.surgery.passes import BackbonePass, BlockPass, passes_of
from edgesr.surgery.structure import lies_in

ERRORS = (0.0, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 5e-2, 0.1, 0.15, 0.2)
"""Shares of its output's energy that a layer may lose when it is factorised."""

FIRST = ((0, 0.0), (3 / 4, 1e-3), (1 / 2, 1e-3), (7 / 8, 1e-3), (3 / 4, 1e-2), (1 / 4, 3e-2))
"""Shares of the blocks that the first designs leave out, and errors of their other layers."""

LAYER_WINDOWS = 8_000  # windows of a layer's input that its closed form sees
RANKING_TILES = 32  # training tiles on which the effect of a block is measured


@dataclass(frozen=True)
class Design:
    """One point of the search.

    Attributes:
        upsampler: index among the measured candidates, from large to small.
        removed: number of blocks left out, those with the least effect first.
        error: index in :data:`ERRORS` of what every other large layer may lose.
    """

    upsampler: int
    removed: int
    error: int


@dataclass(frozen=True)
class Backbone:
    """What the network has besides its upsampler, with all that designs share.

    Attributes:
        layers: large convolutions and linear layers.
        decompositions: theirs, by name.
        blocks: the pass that takes blocks out; None where there is none.
        ranking: removable blocks, the one with the least effect first, and the mean squared
            distance from the output with all blocks once it and all before it are gone.
    """

    layers: Sequence[Site]
    decompositions: Mapping[str, Decomposition]
    blocks: BlockPass | None
    ranking: Sequence[tuple[str, float]]

    def lengths(self, candidates: int) -> dict[str, int]:
        """Number of choices for each field of a :class:`Design`."""
        return {
            "upsampler": candidates,
            "removed": len(self.ranking) + 1,
            "error": len(ERRORS) if self.layers else 1,
        }

    def first_designs(self, upsampler: int) -> list[Design]:
        """Designs to begin with: the upsampler alone; then ever fewer blocks, and smaller ones."""
        designs = [
            Design(
                upsampler,
                int(len(self.ranking) * share),
                ERRORS.index(error) if self.layers else 0,
            )
            for share, error in FIRST
        ]
        return list(dict.fromkeys(designs))


def survey(
    calibrated: CalibratedModel, upsampler: Candidate, seed: int, remember: Remember
) -> Backbone:
    """Find what else can be made smaller, and gather what that needs of the training data.

    Every registered pass on the backbone has its say for every layer; blocks go by the first pass
    that takes blocks out. They are ranked in the network with the small ``upsampler``, which runs
    several times as fast and shows their effect as well.
    """
    workload = calibrated.workload
    patches = list(shuffled_patches(workload, seed))
    passes = list(passes_of(BlockPass).values())  # type: ignore[type-abstract]
    with timed_stage("survey the backbone"):
        layers = find_layers(workload.model, workload.example())
        moments = all_moments(workload.model, layers, patches, LAYER_WINDOWS) if layers else {}
        shared = decompose_all(workload.model, layers, moments)

    def known(ranking: list[tuple[str, float]]) -> bool:
        return {path for path, _ in ranking} <= {path for path, _ in workload.model.named_modules()}

    def ranked() -> list[tuple[str, float]]:
        network = calibrated.operate(upsampler)
        blocks = passes[0].find(network, workload.example())
        distance = distance_to(network, torch.stack(patches[:RANKING_TILES]))
        with counted(len(blocks) * (len(blocks) + 1) // 2 - 1, "rank the blocks") as advance:

            def effect(model: nn.Module) -> float:
                advance()
                return distance(model)

            return passes[0].rank(network, blocks, effect)

    kind = list[tuple[str, float]]
    ranking = remember("blocks", ranked, kind, known) if passes else []
    return Backbone(layers, shared, passes[0] if passes else None, ranking)


def build(
    calibrated: CalibratedModel, candidates: Sequence[Candidate], backbone: Backbone, design: Design
) -> nn.Module:
    """The network of a design, in closed form."""
    student = calibrated.operate(candidates[design.upsampler])
    gone = [path for path, _ in backbone.ranking[: design.removed]]
    if gone and backbone.blocks is not None:
        student, _ = backbone.blocks.apply(student, gone)
    if error := ERRORS[design.error]:
        left = [
            site
            for site in backbone.layers
            if not any(lies_in(site.layers[0], path) for path in gone)
        ]
        student, _ = shrink_all(student, left, error, backbone.decompositions)
    return student.eval()


def label(
    candidates: Sequence[Candidate],
    backbone: Backbone,
    design: Design,
    changes: Sequence[Mapping[str, Any]],
) -> str:
    """A design in words: ``lowrank R=16, 8 blocks out, 3 layers factorised``."""
    upsamplers = set(candidates[design.upsampler].settings)
    factorised = sum(
        isinstance(PASSES[change["pass"]], BackbonePass) and change.get("site") not in upsamplers
        for change in changes
    )
    parts = [candidates[design.upsampler].label]
    if design.removed and backbone.blocks is not None:
        parts.append(backbone.blocks.label(design.removed))
    if factorised:
        parts.append(f"{factorised} layer{'s' * (factorised > 1)} factorised")
    return ", ".join(parts)
