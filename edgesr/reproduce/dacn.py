"""Tables I and II of DACN (arXiv 2506.05041), as its text and published code describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgesr.reproduce.experiment import Experiment
from edgesr.reproduce.lkca import tabulate
from edgesr.reproduce.trial import SceneSpec, Trial

TRAINING = {
    "epochs": 1000,
    "patience": 50,
    "batch": 8,
    "loss": "dacn",
    "learning_rate": 1e-3,
    "final_learning_rate": 1e-3,
    "clip": None,
}
WHOLE_CUBE = 103  # bands of Pavia University
NOTES = (
    "trained on cubes scaled to [0, 1], where the published code takes raw digital numbers, which"
    " weakens its penalty on the weights; all bands are used, where that code leaves out those"
    " from 80 on; no training patch touches the test patch (in that code two of Pavia Centre's do)",
    "VDSR is the light form of LKCA-Net's tables, not the one that DACN was compared with",
)
TITLES = {
    "dacn:1": "DACN, Table I: parts of the network, Pavia University x4",
    "dacn:2": "DACN, Table II: Pavia Centre and Pavia University, x2, x4 and x8",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "DACN without band grouping": {"group_bands": WHOLE_CUBE, "overlap": 0},
    "DACN with group size 16": {"group_bands": 16, "overlap": 4},
    "DACN with group size 32": {},
    "DACN with group size 48": {"group_bands": 48, "overlap": 12},
    "DACN without multi-head attention": {"attention": False},
    "DACN without channel attention": {"channel_attention": False},
    "DACN without custom loss": {"loss": "mse"},
}


def network(row: dict[str, Any], seed: int, loss: str = "dacn", **config: Any) -> Trial:
    """DACN over all bands of a cube, measured by its authors' convention."""
    scene = SceneSpec(row["cube"], protocol=row["cube"], scale=row["scale"])
    training = {**TRAINING, "loss": loss}
    return Trial(scene, "dacn", config, training, seed, convention="dacn")


def _part(row: dict[str, Any], seed: int) -> Trial | None:
    variant = VARIANTS.get(row["label"])
    return None if variant is None else network(row, seed, **variant)


def _compared(row: dict[str, Any], seed: int) -> Trial | None:
    whole = network(row, seed)
    if row["label"] == "VDSR":
        training = {**TRAINING, "loss": "mse", "clip": 1.0}
        return Trial(whole.scene, "vdsr", {}, training, seed, convention="dacn")
    return whole if row["label"] == "DACN" else None


def experiment(name: str, seeds: Iterable[int]) -> Experiment:
    """Return a table of the paper with the trials of its rows."""
    builder = _part if name == "dacn:1" else _compared
    return tabulate(name, TITLES[name], builder, NOTES, seeds)
