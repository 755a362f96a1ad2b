"""Digital numbers to [0, 1] and back: no network ever sees anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesr.errors import DataError, OptionError

MODES = ("scene", "band")
PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True, eq=False)
class Normalisation:
    """A linear map of every band to [0, 1], fitted on training pixels and stored with the model.

    Attributes:
        mode: ``scene`` (one range for all bands: 0, or the minimum where that is negative, to the
            maximum) or ``band`` (each band from its 0.1 to its 99.9 percentile).
        lower: native value of 0, float64 [B].
        upper: native value of 1, float64 [B].
    """

    mode: str
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def fit(cls, pixels: np.ndarray, mode: str = "band") -> Normalisation:
        """Fit to training ``pixels`` [N, B], native numbers without nodata.

        Raises:
            OptionError: unknown ``mode``.
            DataError: no pixels, values that are not finite, or constant bands.
        """
        if mode not in MODES:
            raise OptionError(f"unknown normalisation {mode!r}; choose one of {', '.join(MODES)}")
        if pixels.ndim != 2 or pixels.size == 0:
            raise DataError(
                f"normalisation needs training pixels [N, bands], received {pixels.shape}; "
                "choose a region with valid pixels"
            )
        values = pixels.astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(
                "normalisation met NaN or infinite training pixels; mark them as nodata"
            )
        if mode == "scene":
            constant = values.min(axis=0) == values.max(axis=0)
            lower = np.full(values.shape[1], min(0.0, values.min()))
            upper = np.full(values.shape[1], values.max())
        else:
            lower, upper = np.percentile(values, PERCENTILES, axis=0)
            constant = lower == upper
        constant |= upper <= lower
        if constant.any():
            raise DataError(
                f"band {listed(np.flatnonzero(constant))} is constant over the training pixels; "
                "drop it with --bands clean, or name the bands to keep, such as --bands 4-32"
            )
        return cls(mode, lower, upper)

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.lower.size

    def apply(self, data: np.ndarray) -> np.ndarray:
        """Native numbers [..., B] to float32 [..., B], clipped to [0, 1]; NaN stays NaN."""
        self._check(data)
        unit = (data.astype(np.float64) - self.lower) / (self.upper - self.lower)
        return np.clip(unit, 0.0, 1.0).astype(np.float32)

    def invert(self, data: np.ndarray) -> np.ndarray:
        """[0, 1] numbers [..., B] to native float32 [..., B]."""
        self._check(data)
        return (data * (self.upper - self.lower) + self.lower).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"mode": self.mode, "lower": self.lower.tolist(), "upper": self.upper.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalisation:
        """From :meth:`to_dict`.

        Raises:
            DataError: keys are missing, or the ranges are not increasing.
        """
        try:
            mode = str(values["mode"])
            lower = np.asarray(values["lower"], dtype=np.float64)
            upper = np.asarray(values["upper"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the stored normalisation is damaged ({error}); save the network again"
            ) from error
        if mode not in MODES or lower.ndim != 1 or lower.shape != upper.shape:
            raise DataError(
                f"the stored normalisation (mode {mode!r}, shapes {lower.shape} and {upper.shape})"
                " is damaged; save the network again"
            )
        if not (np.isfinite(lower) & np.isfinite(upper) & (upper > lower)).all():
            raise DataError(
                "the stored normalisation has an upper value that is not above the lower one, or "
                "one that is not finite; save the network again"
            )
        return cls(mode, lower, upper)

    def _check(self, data: np.ndarray) -> None:
        if data.shape[-1] != self.bands:
            raise DataError(
                f"the data have {data.shape[-1]} bands, but the normalisation has {self.bands}; "
                "select the bands that the network was trained on"
            )


def listed(indices: np.ndarray, limit: int = 8) -> str:
    """Indices as text, at most ``limit`` of them: ``3, 4, 9 and 12 more``."""
    head = ", ".join(str(int(index)) for index in indices[:limit])
    return head if len(indices) <= limit else f"{head} and {len(indices) - limit} more"
