"""A small scene with everything that can be known of one, and the work of an engine on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS

from edgesr.scenes.output import BlockStore, SceneMeta, finish

BLOCK = 16
KEY = {"source": "scene.tif, 5 bytes", "model": "a1b2", "options": "{}", "edgesr": "1.0"}
NORTH_UP = (7.5, 0.0, 500_000.0, 0.0, -7.5, 5_000_000.0)


@dataclass(frozen=True)
class Scene:
    """Pixels [H, W, B], what is known of them, and how they are written."""

    data: np.ndarray
    meta: SceneMeta
    block: int = BLOCK

    def but(self, **changes: Any) -> Scene:
        """The same with other metadata."""
        return replace(self, meta=replace(self.meta, **changes))

    def open(self, target: Path, **options: Any) -> BlockStore:
        return BlockStore.open(target, self.meta, block=self.block, **{"key": KEY, **options})

    def pixels(self, store: BlockStore, row: int, col: int) -> np.ndarray:
        height, width, _ = store.shape(row, col)
        top, left = row * store.block, col * store.block
        return self.data[top : top + height, left : left + width]

    def fill(self, store: BlockStore, most: int = 1_000_000) -> None:
        """Write what is missing, up to ``most`` blocks."""
        rows, cols = store.grid
        missing = sorted({(r, c) for r in range(rows) for c in range(cols)} - store.done)
        for row, col in missing[:most]:
            store.write(row, col, self.pixels(store, row, col))

    def write(self, target: Path, **options: Any) -> list[Path]:
        """The whole work."""
        with self.open(target, **options) as store:
            self.fill(store)
            return finish(store)


def numbers(height: int, width: int, bands: int, dtype: str, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    steps = random.integers(-9, 10, size=(height, width, bands))
    values = 120 + steps.cumsum(axis=2) if dtype == "uint8" else 3000 + 20 * steps.cumsum(axis=0)
    return np.clip(values, 1, 250 if dtype == "uint8" else 30_000).astype(dtype)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def scene() -> Scene:
    """41 x 70 pixels, 5 bands, int16: 3 x 5 blocks, the last ones cut."""
    bands = 5
    data = numbers(41, 70, bands, "int16")
    data[10:30, 20:45] = -999  # two whole blocks among them
    data[3, 5, 2] = -999
    meta = SceneMeta(
        *data.shape,
        "int16",
        nodata=-999,
        wavelengths=np.array([450.25, 550.5, 650.0, 850.125, 1650.0]),
        fwhm=np.array([10.0, 10.5, 11.0, 12.0, 20.0]),
        bad_bands=np.array([False, False, True, False, False]),
        band_names=("blue", "green", "red", "nir", "swir"),
        gain=np.full(bands, 1e-4),
        offset=np.full(bands, -0.1),
        crs=CRS.from_epsg(32633).to_wkt(),
        transform=NORTH_UP,
        scale=4,
        interpolated=np.array([False, False, False, False, True]),
        tags={"edgesr_version": "1.0", "model": "a1b2", "datetime": "2026-05-04T10:11:12Z"},
        source="scene.tif",
    )
    return Scene(data, meta)


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """A bare scene of some size and type."""

    def make(height: int, width: int, bands: int, dtype: str, **known: Any) -> Scene:
        data = numbers(height, width, bands, dtype)
        return Scene(data, SceneMeta(height, width, bands, dtype, **known))

    return make


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def content() -> Callable[[Path], dict[str, bytes]]:
    return tree
