"""A generated cube and trials on it that take a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesr.reproduce.trial import SceneSpec, Trial

SCENE = SceneSpec("made", patch=16, bands="all", normalisation="scene")
QUICK = {"epochs": 1, "steps_per_epoch": 2, "batch": 2}


def smooth_cube(side: int, bands: int, seed: int = 0) -> np.ndarray:
    """Digital numbers uint16 [side, side, bands]: three smooth materials, mixed, a little noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    materials = np.stack(
        [1 + np.sin(rows / (3 + k) + seed) * np.cos(columns / (4 + k)) for k in range(3)], axis=-1
    )
    spectra = 1 + np.abs(random.normal(size=(3, bands))).cumsum(axis=1) / bands
    data = 500 * materials @ spectra
    return (data + random.normal(scale=3, size=data.shape)).astype(np.uint16)


def saved_cube(path: Path, side: int = 48, bands: int = 6, seed: int = 0) -> Path:
    """Write :func:`smooth_cube` and return its path."""
    np.save(path, smooth_cube(side, bands, seed))
    return path


def lkca(blocks: int = 1, groups: int = 1, seed: int = 0) -> Trial:
    """LKCA-Net of 16 channels on the generated cube."""
    config = {"blocks": blocks, "channels": 16, "groups": groups}
    return Trial(SCENE, "lkca_net", config, QUICK, seed)
