"""``edgesr export``: any ONNX file for a target, with the tiles and metrics that int8 needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from edgesr_export.chain import Chain, Quantise, check_path, convert
from edgesr_export.model_file import model_files
from edgesr_export.native import convert_native, io_of_file, to_native
from edgesr_export.profile import profile, table
from edgesr_export.runtime import session

from edgesr.cube.formats.npz import stored_arrays
from edgesr.cube.reading import require_memory_to_read
from edgesr.errors import DataError, OptionError
from edgesr.evaluation.interval import CONFIDENCE, interval
from edgesr.outputs import check_outputs
from edgesr.recipe.export_size import parse_export_size
from edgesr.recipe.options import NOT_NEGATIVE, PER_CENT, require
from edgesr.stored import require_file

INT8_DROP = 0.05  # dB, and degrees
PROFILE_SIDE = 64
"""Side of the image that a profile is made on, where the file leaves it free."""


@dataclass(frozen=True)
class Int8Options:
    """What quantising needs beside the network.

    Attributes:
        tiles: .npz of ``lr`` [K, B, h, w], as the network gets them, and ``hr`` [K, B, h r, w r],
            K at least 2; or None. Even ones calibrate, odd ones validate.
        max_psnr_drop: largest accepted loss on the validating ones, in dB.
        max_sam_drop: largest accepted rise of the spectral angle on them, in degrees.
        confidence: of the intervals whose upper ends must keep to both, in per cent; 0 holds the
            means against them, as a single validating tile does.
    """

    tiles: Path | None = None
    max_psnr_drop: float = INT8_DROP
    max_sam_drop: float = INT8_DROP
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        require("max_psnr_drop", self.max_psnr_drop, NOT_NEGATIVE)
        require("max_sam_drop", self.max_sam_drop, NOT_NEGATIVE)
        require("confidence", self.confidence, PER_CENT)


def convert_file(
    source: Path,
    output: Path,
    target: str,
    precision: str,
    int8: Int8Options,
    *,
    opset: int | None = None,
    native: bool = False,
    size: str | None = None,
    overwrite: bool = False,
) -> Chain:
    """Convert an ONNX file; see :func:`edgesr_export.chain.convert`. ``size`` is ``HxW``.

    With ``native`` also to the numbers that its card describes; see
    :func:`edgesr_export.native.convert_native`.

    Raises:
        EdgesrError: an output that exists or is an input; tiles that are missing, unreadable or do
            not belong together.
        ExportError: whatever stops the chain; with ``native``, a file without a card.
    """
    inputs = [*model_files(source), *filter(None, [int8.tiles])]
    lr_size = None if size is None else parse_export_size(size)
    check_outputs([output], inputs, overwrite=overwrite)
    check_path(output, overwrite)
    io = io_of_file(source) if native else None
    tiles, quantise = _int8(int8) if precision == "int8" else ([], None)
    if lr_size is not None and any(tile.shape[2:] != lr_size for tile in tiles):
        height, width = tiles[0].shape[2:]
        raise DataError(
            f"lr tiles of {int8.tiles} have {height} x {width} pixels and --export-size asks for"
            f" {size}; give tiles of that size"
        )

    def converted(path: Path) -> Chain:
        return convert(
            source,
            path,
            target=target,
            precision=precision,
            tiles=tiles,
            quantise=quantise,
            opset=opset,
            size=lr_size,
            overwrite=overwrite,
        )

    if io is None:
        return converted(output)
    with tempfile.TemporaryDirectory() as folder:
        first = converted(Path(folder) / "normalised.onnx")
        given = [to_native(tile, io) for tile in tiles]
        last = convert_native(
            first.path, output, io, target=target, tiles_native=given, overwrite=overwrite
        )
    rewrites, notes = (*first.rewrites, *last.rewrites), (*first.notes, *last.notes)
    return replace(last, rewrites=rewrites, notes=tuple(dict.fromkeys(notes)))


def _int8(options: Int8Options) -> tuple[list[np.ndarray], Quantise]:
    """Tiles to compare on, and what quantises."""
    if options.tiles is None:
        raise OptionError(
            "--precision int8 needs calibration tiles; pass --tiles FILE.npz with arrays "
            "lr [K, B, h, w] and hr [K, B, h*r, w*r] of training data"
        )
    low, high = _read_tiles(options.tiles)
    return [tile[None] for tile in low[:2]], _quantiser(low, high, options)


def profile_both(source: Path, output: Path) -> str:
    """Table of milliseconds per operator type in ONNX Runtime, of one file and of the other."""
    shape = session(source).input_shape
    lengths = [
        length if isinstance(length, int) and length > 0 else free
        for length, free in zip(shape, (1, 1, PROFILE_SIDE, PROFILE_SIDE), strict=True)
    ]
    image = np.random.default_rng(0).random(lengths, dtype=np.float32)
    heading = f"one run in ONNX Runtime, 1 thread, on {' x '.join(map(str, lengths))}"
    return f"{heading}\n{table(profile(source, image), profile(output, image))}"


def _quantiser(low: np.ndarray, high: np.ndarray, options: Int8Options) -> Quantise:
    try:
        from edgesr_export.int8 import Quality, quantize
    except ModuleNotFoundError as error:
        raise OptionError(f"int8 cannot be made here: {error}; install the extra 'int8'") from error

    quality = Quality(
        _evaluator(low[1::2], high[1::2]),
        options.max_psnr_drop,
        options.max_sam_drop,
        partial(interval, confidence=options.confidence),
    )

    def quantise(source: Path, path: Path, target: str) -> object:
        return quantize(
            source,
            path,
            [tile[None] for tile in low[::2]],
            target=target,
            quality=quality,
        )

    return quantise


def _evaluator(
    low: np.ndarray, high: np.ndarray
) -> Callable[[Callable[[np.ndarray], np.ndarray]], dict[str, np.ndarray]]:
    """What measures a network: "mpsnr" [tiles, bands] in dB and "sam" [tiles] in degrees."""
    import torch

    from edgesr.evaluation.metrics import psnr, sam

    def evaluate(network: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        by_band, angles = [], []
        for lr, hr in zip(low, high, strict=True):
            sr = torch.from_numpy(network(lr[None])).float().clamp(0, 1)
            truth = torch.from_numpy(hr[None])
            by_band.append(psnr(sr, truth)[0].numpy())
            angles.append(float(sam(sr, truth)))
        return {"mpsnr": np.stack(by_band), "sam": np.array(angles)}

    return evaluate


def _read_tiles(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        require_file(path)
        with np.load(path, allow_pickle=False) as archive:
            stored = stored_arrays(archive)
            for name in ("lr", "hr"):
                require_memory_to_read(stored[name].shape, np.dtype(stored[name].dtype), path)
            low, high = (np.asarray(archive[name], np.float32) for name in ("lr", "hr"))
    except DataError:
        raise
    except Exception as error:  # what a damaged archive raises is not documented
        raise DataError(
            f"tiles cannot be read from {path} ({type(error).__name__}); give an .npz with "
            "arrays lr [K, B, h, w] and hr [K, B, h*r, w*r]"
        ) from error
    if low.ndim != 4 or high.ndim != 4 or low.shape[:2] != high.shape[:2] or len(low) < 2:
        raise DataError(
            f"tiles of {path} have shapes {low.shape} and {high.shape}; lr [K, B, h, w] and "
            "hr [K, B, h*r, w*r] with K at least 2 are needed"
        )
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError(f"tiles of {path} hold NaN or infinite values; leave those tiles out")
    return low, high
