"""A cube with the windows of each role: the only way from pixels to a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesr.cube.bands import (
    MIN_CORRELATION,
    clean_bands,
    format_bands,
    missing_bands,
    parse_bands,
)
from edgesr.cube.cube import Cube, Window
from edgesr.cube.degrade import METHODS, check_scale, degrade
from edgesr.cube.memory import require_memory, require_memory_to_select
from edgesr.cube.nodata import nodata_in_json
from edgesr.cube.normalise import Normalisation, listed
from edgesr.cube.protocols import MIN_LR_SIDE, Protocol, Regions, get_protocol
from edgesr.cube.sample import NAME as SAMPLE
from edgesr.cube.sampling import covered, fit_normalisation, sampled_pixels
from edgesr.cube.scaling import Factor, per_band
from edgesr.cube.split import check_divisible, check_patch_fits, divide, surroundings
from edgesr.errors import DataError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "tuning", "budget", "test")
_COPIES_PER_PATCH = 6  # native, float64, HR, LR, SR and one gradient


@dataclass(frozen=True, eq=False)
class TrainingNumbers:
    """The native numbers of the training pixels, on the sample that normalisation is fitted on.

    Attributes:
        low, high: extremes [B].
        median: [B]; it stands in for nodata.
    """

    low: np.ndarray
    high: np.ndarray
    median: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> TrainingNumbers:
        """Of valid spectra [N, B]."""
        return cls(pixels.min(axis=0), pixels.max(axis=0), np.median(pixels, axis=0))


@dataclass(frozen=True, eq=False)
class Sample:
    """What a network is measured on: a window of a role, seen with its surroundings.

    Attributes:
        lr: [B, h, w] of the surroundings.
        hr: [B, H, W] of the window alone.
        place: rows and columns of the window in what the network makes of ``lr``.
    """

    lr: Tensor
    hr: Tensor
    place: tuple[slice, slice]

    def cut(self, sr: Tensor) -> Tensor:
        """The window's pixels of the super-resolved surroundings [..., h r, w r]."""
        return sr[..., self.place[0], self.place[1]]


@dataclass(frozen=True, eq=False)
class Scene:
    """A cube divided for training and testing, with its normalisation and degradation.

    Attributes:
        cube: cropped and band-selected, native numbers.
        scale: HR pixels per LR pixel.
        normalisation: fitted on the training pixels alone.
        degradation: ``bicubic`` or ``area``.
        train: HR windows that are trained on, counted from the corner of ``cube``.
        tuning: windows that choose epochs.
        budget: windows that drops are measured on.
        test: windows that are reported.
        protocol: name of the protocol that divided it.
        bands: indices of the bands of ``cube`` in the source cube.
        crop: the part of the source cube that ``cube`` is.
        seed: drew the tuning patches, where the protocol draws them.
        train_regions: windows in which a training patch may lie anywhere; empty where the
            protocol fixes the patches, or nodata lies between them.
        source_bands: number of bands of the source cube.
        numbers: of the training pixels; None where the scene was made by hand.
        surroundings: the window that a tuning or budget window is super-resolved in.
    """

    cube: Cube
    scale: int
    normalisation: Normalisation
    degradation: str
    train: tuple[Window, ...]
    tuning: tuple[Window, ...]
    budget: tuple[Window, ...]
    test: tuple[Window, ...]
    protocol: str
    bands: tuple[int, ...]
    crop: Window | None = None
    seed: int = 0
    train_regions: tuple[Window, ...] = ()
    source_bands: int = 0
    numbers: TrainingNumbers | None = None
    surroundings: Mapping[Window, Window] = field(default_factory=dict)

    def pair(self, window: Window) -> tuple[Tensor, Tensor]:
        """LR [B, h, w] and HR [B, H, W] of a window, float32 in [0, 1]; reads only the window.

        Raises:
            DataError: the window is not inside the cube, or the scale does not divide it.
        """
        import torch

        values = self.normalisation.apply(self.cube.crop(window).data)
        hr = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
        lr = degrade(hr[None], self.scale, self.degradation)[0].clamp(0.0, 1.0)
        return lr, hr

    def windows(self, split: str) -> tuple[Window, ...]:
        """The windows of ``train``, ``tuning``, ``budget`` or ``test``."""
        if split not in SPLITS:
            raise OptionError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        windows: tuple[Window, ...] = getattr(self, split)
        return windows

    def sample(self, window: Window) -> Sample:
        """A window and what a network needs to super-resolve it."""
        around = self.surroundings.get(window, window)
        lr, hr = self.pair(around)
        inner = Window(
            window.row - around.row, window.col - around.col, window.height, window.width
        )
        return Sample(lr, hr[:, *inner.slices], inner.slices)

    def samples(self, split: str) -> Iterator[Sample]:
        """:meth:`sample` of every window of a split, one after the other."""
        for window in self.windows(split):
            yield self.sample(window)

    def describe(self) -> dict[str, Any]:
        """What a report says about the data; JSON-able."""
        cube = self.cube
        crop = self.crop or cube.extent
        wavelengths = cube.wavelengths
        return {
            "name": cube.name,
            "source": cube.source,
            "shape": list(cube.shape),
            "dtype": str(cube.data.dtype),
            "crop": [crop.row, crop.col, crop.height, crop.width],
            "bands": format_bands(self.bands),
            "wavelengths_nm": None if wavelengths is None else wavelengths.tolist(),
            "crs": cube.crs,
            "nodata": nodata_in_json(cube.nodata),
            "protocol": self.protocol,
            "scale": self.scale,
            "degradation": self.degradation,
            "normalisation": self.normalisation.to_dict(),
            "seed": self.seed,
            "split": {
                split: {
                    "windows": len(self.windows(split)),
                    "sizes": sorted({f"{w.height} x {w.width}" for w in self.windows(split)}),
                }
                for split in SPLITS
            },
            "test_windows": [[w.row, w.col, w.height, w.width] for w in self.test],
        }

    def describe_numbers(self) -> dict[str, Any]:
        """What weights keep of the data beside :meth:`describe`; JSON-able."""
        cube, numbers = self.cube, self.numbers
        found: dict[str, Any] = {
            "source_bands": self.source_bands,
            "fwhm_nm": None if cube.fwhm is None else cube.fwhm.tolist(),
            "gain": _listed(cube.gain, cube.bands, 1.0),
            "offset": _listed(cube.offset, cube.bands, 0.0),
        }
        if numbers is not None:
            found["native"] = {
                "low": numbers.low.astype(float).tolist(),
                "high": numbers.high.astype(float).tolist(),
                "fill": numbers.median.astype(float).tolist(),
            }
        return found


def make_scene(
    cube: Cube,
    *,
    scale: int = 4,
    protocol: str = "auto",
    patch: int | None = None,
    overlap: int | None = None,
    degradation: str | None = None,
    normalisation: str | None = None,
    bands: str | None = None,
    tuning_share: float = 0.1,
    seed: int = 0,
) -> Scene:
    """Divide a cube by a protocol.

    None takes what the protocol says: for ``auto`` patches of 64 (128 at x8; less in a small
    cube) with half overlap, bicubic, every band stretched, clean bands; for the published ones
    what was published, all bands, scaled by the maximum of the training pixels. ``auto`` means
    ``indian_pines`` for the embedded sample.

    Tuning, budget and test share no pixel with each other and with training. Where a publication
    lets a share of the training patches validate, that share is tuning and drawn by ``seed``;
    overlapping patches then share pixels between training and tuning, as published, never with
    the others. Pixels above the training maximum (or outside the percentiles) are clipped.

    Bands are selected, and normalisation by band is fitted, on at most 33 million values: every
    k-th pixel of the training patches, the same ones in every run. The scene maximum is exact.

    Args:
        cube: the source, native numbers.
        scale: HR pixels per LR pixel.
        protocol: a name of :data:`edgesr.cube.protocols.PROTOCOLS`.
        patch: side of the training patches in HR pixels, a multiple of ``scale``.
        overlap: pixels that neighbouring patches share, below ``patch``; half of it by default.
        degradation: ``bicubic`` or ``area``.
        normalisation: ``scene`` or ``band``.
        bands: ``all``, ``clean`` (without bad, constant and noisy bands: see
            :func:`edgesr.cube.bands.clean_bands`) or ranges such as ``4-32,40-55``.
        tuning_share: share of the patches, between 0 and 1, that tunes where the protocol has
            no tuning region.
        seed: draws that share.

    Raises:
        DataError: the cube does not fit the protocol, the patch or the memory.
        OptionError: an option has a value that does not exist.
    """
    plan = _resolve(protocol, cube)
    check_scale(scale)
    method = degradation or plan.degradation
    if method not in METHODS:
        raise OptionError(f"unknown degradation {method!r}; choose one of {', '.join(METHODS)}")
    if not 0 < tuning_share < 1:
        raise OptionError(
            f"the tuning share must lie between 0 and 1, received {tuning_share}; 0.1 is usual"
        )
    cube = _oriented(cube, plan)
    selection = bands or plan.bands
    chosen = _candidate_bands(cube, selection, plan)
    regions = plan.regions(*cube.shape[:2], scale)
    check_divisible((*regions.test, *regions.tuning, *regions.budget), scale)
    size, shared = _patch_options(plan, regions, scale, patch, overlap)
    check_patch_fits(regions.train, size, scale)
    _check_memory((*regions.test, Window(0, 0, size, size)), len(chosen))

    cropped = cube.crop(regions.crop)
    invalid = cropped.invalid(chosen)
    parts = divide(
        regions,
        invalid=invalid,
        patch=size,
        stride=size - shared,
        scale=scale,
        share=0.0 if plan.trains_alone else tuning_share,
        seed=seed,
        cover=plan.cover,
        leaks=plan.leaks,
        name=cube.name,
    )
    trained = covered(parts.train, cropped.extent)
    if selection == "clean":
        chosen = chosen[clean_bands(sampled_pixels(cropped, trained, chosen))]
        if chosen.size == 0:
            raise DataError(
                f"{cube.name}: no band correlates with its neighbours by {MIN_CORRELATION} or more "
                "on the training region; take --bands all, or name them, such as --bands 4-32"
            )
    require_memory_to_select(cropped, chosen)
    selected = cropped.select_bands(chosen)
    spectra = sampled_pixels(selected, trained)
    return Scene(
        cube=selected,
        scale=scale,
        normalisation=fit_normalisation(selected, trained, normalisation or plan.normalisation),
        degradation=method,
        train=parts.train,
        tuning=parts.tuning,
        budget=parts.budget,
        test=parts.test,
        protocol=plan.name,
        bands=tuple(int(index) for index in chosen),
        crop=regions.crop,
        seed=seed,
        train_regions=tuple(
            region
            for region in regions.train
            if (regions.tuning or plan.trains_alone) and not invalid[region.slices].any()
        ),
        source_bands=cube.bands,
        numbers=TrainingNumbers.of(spectra),
        surroundings=surroundings(
            (*(parts.tuning if regions.tuning else ()), *parts.budget),
            scale=scale,
            extent=cropped.extent,
            test=regions.test,
            invalid=invalid,
        ),
    )


def _resolve(name: str, cube: Cube) -> Protocol:
    """The protocol of that name; ``auto`` on the embedded sample is the sample's own."""
    sample = get_protocol(SAMPLE)
    return (
        sample
        if name == "auto" and (cube.name, cube.shape) == (SAMPLE, sample.shape)
        else (get_protocol(name))
    )


def _patch_options(
    plan: Protocol, regions: Regions, scale: int, patch: int | None, overlap: int | None
) -> tuple[int, int]:
    """Size and overlap of the training patches; the overlap keeps the proportion of the plan.

    The plan's size is a wish: it gives way to the scale and to what the training regions hold.
    """
    default_size, default_overlap = plan.patches(scale)
    longest = max(min(region.height, region.width) for region in regions.train)
    size = min(default_size, longest) // scale * scale if patch is None else patch
    shared = size * default_overlap // default_size if overlap is None else overlap
    if size < MIN_LR_SIDE * scale:
        raise OptionError(
            f"a patch of {size} pixels is too small at x{scale}; choose at least "
            f"--patch {MIN_LR_SIDE * scale}"
        )
    if size % scale:
        raise DataError(
            f"scale {scale} does not divide the patch of {size} pixels; choose --patch "
            f"{size // scale * scale} or --patch {(size // scale + 1) * scale}"
        )
    if not 0 <= shared < size:
        raise OptionError(
            f"the overlap must be at least 0 and below the patch of {size}, received {shared}; "
            f"{size // 2} is usual"
        )
    return size, shared


def _oriented(cube: Cube, plan: Protocol) -> Cube:
    """The cube with rows and columns as published; DataError when it is another image."""
    if plan.shape is None or cube.shape[:2] == plan.shape[:2]:
        return cube
    if cube.shape[1::-1] == plan.shape[:2]:
        return cube.transposed()
    height, width, bands = plan.shape
    raise DataError(
        f"{cube.name}: protocol {plan.name} divides the image of {height} x {width} x {bands}, "
        f"received {' x '.join(map(str, cube.shape))}; bring that file, or use --protocol auto"
    )


def _candidate_bands(cube: Cube, selection: str, plan: Protocol) -> np.ndarray:
    """Band indices before the training pixels are looked at: int64 [n]."""
    missing = missing_bands(cube)
    if selection == "clean":
        bad = missing if cube.bad_bands is None else missing | cube.bad_bands
        if bad.all():
            raise DataError(
                f"{cube.name}: all {cube.bands} bands are marked bad; take --bands all, or name "
                "the bands to keep, such as --bands 4-32"
            )
        return np.flatnonzero(~bad)
    if selection == "all":
        if plan.shape is not None and cube.bands != plan.shape[2]:
            last = min(plan.shape[2], cube.bands) - 1
            raise DataError(
                f"{cube.name}: protocol {plan.name} has {plan.shape[2]} bands, received "
                f"{cube.bands}; name the bands, such as --bands 0-{last}"
            )
        chosen = np.arange(cube.bands)
    else:
        chosen = np.asarray(parse_bands(selection, cube.bands))
    if missing[chosen].any():
        raise DataError(
            f"{cube.name}: band {listed(chosen[missing[chosen]])} holds only nodata or NaN; drop "
            "it with --bands clean, or name the bands to keep, such as --bands 4-32"
        )
    return chosen


def _check_memory(windows: tuple[Window, ...], bands: int) -> None:
    largest = max(windows, key=lambda window: window.pixels)
    require_memory(
        largest.pixels * bands * 4 * _COPIES_PER_PATCH,
        f"a patch of {largest.height} x {largest.width} pixels and {bands} bands",
        "choose a smaller --patch or fewer --bands",
    )


def _listed(factor: Factor | None, bands: int, neutral: float) -> list[float] | None:
    return None if factor is None else per_band(factor, bands, neutral).tolist()
