"""What a bundle holds, as typed values; read after the hashes were checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BoardError


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from the reference; a limit that is None does not apply.

    Attributes:
        max_abs: largest absolute difference, on data in [0, 1].
        min_psnr_db: PSNR of the output against the reference, peak = range of the reference.
    """

    max_abs: float | None
    min_psnr_db: float | None


@dataclass(frozen=True)
class Profile:
    """Tile shapes [1, B, h, w] that engines are built for."""

    smallest: tuple[int, ...]
    typical: tuple[int, ...]
    largest: tuple[int, ...]

    def require(self, shape: tuple[int, ...]) -> None:
        """Raise :class:`BoardError` unless an engine of this profile takes ``shape``."""
        fits = len(shape) == len(self.smallest) and all(
            low <= length <= high for low, length, high in zip(self.smallest, shape, self.largest)
        )
        if not fits:
            raise BoardError(
                f"a tile of {'x'.join(map(str, shape))} is outside the bundle's range "
                f"{'x'.join(map(str, self.smallest))} to {'x'.join(map(str, self.largest))}; "
                "choose one inside, or make a bundle with a wider range"
            )


@dataclass(frozen=True)
class Model:
    """One ONNX file of the bundle and what it must answer."""

    name: str
    precision: str
    onnx: Path
    sha256: str
    outputs: Path
    tolerance: Tolerance


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        identity: SHA-256 of the manifest.
        bands: B of every tile.
        scale: factor between input and output, per axis.
        facts: what the desktop wrote about network and data; shown, not interpreted, except
            ``normalisation`` (see :mod:`live_source`).
    """

    folder: Path
    identity: str
    bands: int
    scale: int
    models: tuple[Model, ...]
    inputs: Path
    profile: Profile
    facts: dict[str, Any]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Shape of the output [1, B, r*h, r*w] for an input [1, B, h, w]."""
        return (shape[0], self.bands, shape[2] * self.scale, shape[3] * self.scale)


def open_bundle(folder: Path, manifest: dict[str, Any], identity: str) -> Bundle:
    """Read a manifest whose files were verified.

    Raises:
        BoardError: the manifest lacks something, or names a file that it does not list.
    """
    try:
        profile = manifest["profile"]
        return Bundle(
            folder=folder,
            identity=identity,
            bands=int(manifest["bands"]),
            scale=int(manifest["scale"]),
            models=tuple(_model(folder, manifest, entry) for entry in manifest["models"]),
            inputs=_listed(folder, manifest, manifest["inputs"]),
            profile=Profile(*(tuple(map(int, profile[key])) for key in ("min", "opt", "max"))),
            facts=dict(manifest["facts"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BoardError(
            f"manifest.json cannot be used ({type(error).__name__}: {error}); make the bundle again"
        ) from error


def load_tiles(path: Path) -> list[np.ndarray]:
    """Tiles [1, B, h, w], float32, of one ``.npz`` in the order tile0, tile1, ...

    Raises:
        BoardError: not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [
                np.ascontiguousarray(stored[f"tile{index}"], dtype=np.float32)
                for index in range(len(stored.files))
            ]
    except (OSError, ValueError, KeyError) as error:
        raise BoardError(f"{path.name} cannot be read ({error}); make the bundle again") from error


def _model(folder: Path, manifest: dict[str, Any], entry: dict[str, Any]) -> Model:
    tolerance = entry["tolerance"]
    return Model(
        name=str(entry["name"]),
        precision=str(entry["precision"]),
        onnx=_listed(folder, manifest, entry["onnx"]),
        sha256=manifest["files"][entry["onnx"]]["sha256"],
        outputs=_listed(folder, manifest, entry["outputs"]),
        tolerance=Tolerance(tolerance.get("max_abs"), tolerance.get("min_psnr_db")),
    )


def _listed(folder: Path, manifest: dict[str, Any], name: str) -> Path:
    if name not in manifest["files"]:
        raise BoardError(f"manifest.json uses {name} and does not list it; make the bundle again")
    return folder / name
