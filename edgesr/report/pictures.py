"""Pictures of the test region, as every network of a run makes it; kept beside the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesr.errors import DataError
from edgesr.files import atomic_path

TRUTH = "ground truth"
LEVELS = 1023
"""Steps between 0 and 1 that are stored: a thousandth, far below any error that can be seen."""
MAX_SAMPLES = 6_000_000
"""Pixels x bands x pictures of a page; they take about a byte each."""
MAX_SIDE = 128
"""Side of the window that is shown of a larger region, in pixels."""


def visible(bands: int, height: int, width: int, count: int) -> tuple[slice, slice]:
    """Rows and columns of a test window that ``count`` pictures of it show.

    All of them where the pictures together have at most ``MAX_SAMPLES`` numbers; else those of the
    middle, at most ``MAX_SIDE`` x ``MAX_SIDE`` pixels and within that number.
    """
    affordable = MAX_SAMPLES // (bands * count)
    if height * width <= affordable:
        return slice(0, height), slice(0, width)
    high, wide = min(height, MAX_SIDE), min(width, MAX_SIDE)
    if high * wide > affordable:
        shrink = math.sqrt(affordable / (high * wide))
        high, wide = max(1, int(high * shrink)), max(1, int(wide * shrink))
    top, left = (height - high) // 2, (width - wide) // 2
    return slice(top, top + high), slice(left, left + wide)


@dataclass(frozen=True)
class Pictures:
    """The same window seen by several eyes.

    Attributes:
        images: float arrays [B, H, W] in [0, 1], all of one shape, by name: ``ground truth``
            first, then such as ``bicubic``, ``teacher``, ``student``, ``int8``.
        wavelengths: centre of each band in nm, or None where the cube has none.
        origin: row and column of the window's first pixel in the cube.
        region: height and width of the test window that this is a part of.
    """

    images: Mapping[str, NDArray[np.float32]]
    wavelengths: tuple[float, ...] | None
    origin: tuple[int, int]
    region: tuple[int, int]

    def __post_init__(self) -> None:
        _require_one_shape(self.images)
        if self.wavelengths is not None and len(self.wavelengths) != self.shape[0]:
            raise ValueError(f"{len(self.wavelengths)} wavelengths for {self.shape[0]} bands")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, height and width."""
        bands, height, width = self.images[TRUTH].shape
        return bands, height, width

    @property
    def is_part(self) -> bool:
        """Whether the test window is larger than what is shown of it."""
        return self.region != self.shape[1:]

    @classmethod
    def of_window(
        cls,
        images: Mapping[str, NDArray[np.float32]],
        wavelengths: Sequence[float] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> Pictures:
        """Keep what :func:`visible` allows of a test window.

        Args:
            images: arrays [B, H, W] of the window, by name.
            wavelengths: of the bands, in nm.
            origin: row and column of the window in the cube.

        Raises:
            ValueError: no ground truth, shapes that differ, or a wrong number of wavelengths.
        """
        _require_one_shape(images)
        bands, height, width = images[TRUTH].shape
        rows, columns = visible(bands, height, width, len(images))
        return cls(
            {name: np.ascontiguousarray(image[:, rows, columns]) for name, image in images.items()},
            None if wavelengths is None else tuple(float(value) for value in wavelengths),
            (origin[0] + rows.start, origin[1] + columns.start),
            (height, width),
        )

    def quantised(self, name: str) -> NDArray[np.uint16]:
        """One picture in whole steps of 1 / ``LEVELS``; what is not a number becomes 0."""
        image = np.nan_to_num(self.images[name], nan=0.0)
        return np.rint(np.clip(image, 0, 1) * LEVELS).astype(np.uint16)

    def save(self, path: Path) -> None:
        """Write the pictures as ``.npz``, in steps of 1 / ``LEVELS``."""
        arrays: dict[str, Any] = {
            f"image_{i}": self.quantised(name) for i, name in enumerate(self.images)
        }
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary,
                names=np.array(list(self.images)),
                levels=LEVELS,
                wavelengths=np.array(self.wavelengths or (), dtype=np.float64),
                origin=np.array(self.origin),
                region=np.array(self.region),
                **arrays,
            )

    @classmethod
    def load(cls, path: Path) -> Pictures:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file cannot be read, or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                names = [str(name) for name in stored["names"]]
                step = np.float32(1 / int(stored["levels"]))
                wavelengths = tuple(float(value) for value in stored["wavelengths"])
                top, left = (int(value) for value in stored["origin"])
                height, width = (int(value) for value in stored["region"])
                return cls(
                    {name: stored[f"image_{i}"] * step for i, name in enumerate(names)},
                    wavelengths or None,
                    (top, left),
                    (height, width),
                )
        except OSError as error:
            raise DataError(
                f"cannot read the pictures {path}: {error.strerror or error}"
            ) from error
        except Exception as error:  # what a damaged archive raises is not documented
            raise DataError(
                f"{path} does not hold a run's pictures: {error}; remove it, and the page is made"
                " without pictures"
            ) from error


def _require_one_shape(images: Mapping[str, NDArray[np.float32]]) -> None:
    shapes = {name: np.shape(image) for name, image in images.items()}
    if len(shapes.get(TRUTH, ())) != 3 or len(set(shapes.values())) != 1:
        raise ValueError(f"pictures need a {TRUTH!r} and one shape [B, H, W], got {shapes}")
