"""A model file made ready for one scene: tiles in the scene's own numbers in, the same out.

Where a file is ONNX, the conversion of the numbers is put into its graph
(:mod:`edgesr_export.native`), so that the large image is written once, in the type of the output;
a PyTorch network and a TensorRT engine are converted around with NumPy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from edgesr_export.card import ModelCard, read_card
from edgesr_export.model_file import load_model, write_model
from edgesr_export.native import NativeIO, make_native
from edgesr_export.runner import Runner, open_runner
from edgesr_export.sizes import input_shape
from edgesr_export.tensorrt.sidecar import read_side

from edgesr.cube import Normalisation
from edgesr.cube.matching import Rescale, match_bands
from edgesr.cube.opened import OpenCube
from edgesr.errors import DataError, ModelError, OptionError, shown
from edgesr.loading.card_files import (
    ENGINE,
    ONNX,
    RUNTIMES,
    WEIGHTS,
    fitting_card,
    without_card,
)

ROUNDING = ("openvino-bf16",)
"""Runtimes that round what goes in, so that native numbers must not."""

Tile = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ModelFile:
    """A model file and what it says of itself.

    Attributes:
        path: the file.
        card: its card.
        size: height and width that it is fixed to; None where they are free.
        factory: ``package.module:function`` of a network that is none of edgesr's.
    """

    path: Path
    card: ModelCard
    size: tuple[int | None, int | None] = (None, None)
    factory: str | None = None


def open_model(path: Path, factory: str | None = None, given: ModelCard | None = None) -> ModelFile:
    """Read what a model file says of itself.

    Args:
        path: ``.onnx``, ``.engine`` or ``.safetensors``.
        factory: see :class:`ModelFile`.
        given: card of a file of another tool, in place of its own.

    Raises:
        ModelError: a file of another kind, or one that does not say what it was trained on.
        ExportError: a file that cannot be read, or that is not what ``given`` describes.
        OptionError: a card for weights, which have their own; a factory for a file that needs none.
    """
    if factory is not None and path.suffix != WEIGHTS:
        raise OptionError(f"{path} is a whole network; leave out --model {shown(factory)}")
    if path.suffix == WEIGHTS:
        if given is not None:
            raise OptionError(f"{path} says itself what it was trained on; leave out --card")
        from edgesr.loading.card import card_of_weights
        from edgesr.loading.weights import load_network

        loaded = load_network(path, factory)
        if factory is not None and ":" not in str(loaded.metadata["model"]):
            raise OptionError(
                f"{path} holds a network of edgesr's own; leave out --model {shown(factory)}"
            )
        fixed = getattr(loaded.model, "fixed_size", None) or (None, None)
        return ModelFile(path, card_of_weights(path, loaded), fixed, factory)
    if path.suffix == ENGINE:
        card = given or read_side(path).card
        if card is None:
            raise without_card(path)
        return ModelFile(path, card, card.size)
    if path.suffix == ONNX:
        card = given or read_card(path)
        if card is None:
            raise without_card(path)
        if card.input.kind == "native":
            raise ModelError(
                f"{path} takes native numbers of one type; pass the file of normalised numbers that"
                " it was made of, which is made native for each scene"
            )
        bands, height, width = input_shape(path)[1:]
        return ModelFile(path, fitting_card(path, bands, card), (height, width))
    raise ModelError(f"{path} is no model file; pass an .onnx, .engine or .safetensors file")


@dataclass(frozen=True)
class Numbers:
    """How a scene's numbers become the network's.

    Attributes:
        index: of the network's bands in the scene, in the network's order.
        normalisation: in the scene's numbers.
        fill: that stand in for nodata, in the scene's numbers, [B].
        low, high: extremes of the training pixels, in the scene's numbers, [B].
    """

    index: list[int]
    normalisation: Normalisation
    fill: np.ndarray
    low: np.ndarray
    high: np.ndarray


def numbers_of(card: ModelCard, cube: OpenCube, rescale: Rescale | None = None) -> Numbers:
    """Find a network's bands in a scene, and what its numbers mean there.

    Args:
        card: of the network.
        cube: the scene.
        rescale: the scene's numbers to the training data's; None takes it from gain and offset of
            both, where they are known.

    Raises:
        DataError: bands are missing.
    """
    bands, native, limits = card.bands, card.native, card.normalisation
    index = match_bands(
        bands.wavelengths_nm, bands.fwhm_nm, bands.index, cube.wavelengths, cube.bands, cube.name
    )
    rescale = rescale or Rescale.between(
        _picked(cube.gain, index), _picked(cube.offset, index), native.gain, native.offset
    )

    def here(values: tuple[float, ...]) -> np.ndarray:
        found = np.asarray(values, np.float64)
        return found if rescale is None else rescale.inverse(found)

    normalisation = Normalisation(limits.mode, here(limits.lower), here(limits.upper))
    return Numbers(index, normalisation, here(native.fill), here(native.low), here(native.high))


def _picked(values: float | np.ndarray | None, index: list[int]) -> float | np.ndarray | None:
    return values[index] if isinstance(values, np.ndarray) else values


class TileNetwork(Protocol):
    """Super-resolves tiles [B, h, w] of native numbers without nodata, from several threads."""

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """[B, h r, w r] in the output's type; a new array."""

    def close(self) -> None:
        """Remove what was written for it."""


def open_network(
    model: ModelFile, runtime: str | None, numbers: Numbers, dtypes: tuple[str, str]
) -> TileNetwork:
    """Make a model ready for a scene.

    Args:
        model: the file.
        runtime: of :func:`edgesr_export.runner.available_runtimes`; None takes the usual one.
        numbers: of the scene.
        dtypes: of the tiles, and of what comes out; of ``edgesr_export.native.io.DTYPES``.

    Raises:
        OptionError: the runtime does not run such a file.
        ExportError: the runtime is not here, or does not take the file.
    """
    suffix = model.path.suffix
    name = runtime or RUNTIMES[suffix]
    if (name == "torch") != (suffix == WEIGHTS) or (name == "tensorrt") != (suffix == ENGINE):
        raise OptionError(
            f"--runtime {name} does not run {model.path.name}; a {suffix} file is run by"
            f" {RUNTIMES[suffix]}{' or openvino' if suffix == ONNX else ''}"
        )
    if suffix == ONNX and name not in ROUNDING:
        return _InGraph(model, name, numbers, dtypes)
    if suffix == ONNX:
        load_model(model.path)  # refuses weights that are not finite
    if suffix != WEIGHTS:
        return _Around(lambda: open_runner(model.path, name), numbers, dtypes[1])
    return _Around(lambda: _torch(model), numbers, dtypes[1])


def _torch(model: ModelFile) -> Runner:
    import torch

    from edgesr.loading.fitting import check_fit
    from edgesr.loading.weights import load_network
    from edgesr.loading.workload import LR_PATCH

    torch.set_num_threads(1)
    network = load_network(model.path, model.factory).model
    height, width = (side or LR_PATCH for side in model.size)
    bands = len(model.card.bands.index)
    check_fit(network, torch.zeros(1, bands, height, width), model.card.scale)
    return open_runner(network, "torch")


class _Idle:
    """Runners of one thread each, as many as are asked at once; no result depends on how many."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._idle = [make()]  # what is wrong with it is wrong now

    def __call__(self, image: np.ndarray) -> np.ndarray:
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = self._make()
        try:
            found: np.ndarray = runner(image)
        finally:
            self._idle.append(runner)
        return found


class _InGraph:
    """The conversion in the graph."""

    def __init__(
        self, model: ModelFile, runtime: str, numbers: Numbers, dtypes: tuple[str, str]
    ) -> None:
        normalisation = numbers.normalisation
        io = NativeIO(
            lower=tuple(normalisation.lower),
            upper=tuple(normalisation.upper),
            sensor_bands=normalisation.bands,
            selection=None,
            input_dtype=dtypes[0],
            output_dtype=dtypes[1],
            nodata=None,
            fill=tuple(numbers.fill),
            scale=model.card.scale,
        )
        native = make_native(load_model(model.path), io, fused=runtime == "onnxruntime")
        self._folder = tempfile.TemporaryDirectory(prefix="edgesr-")
        path = Path(self._folder.name) / "native.onnx"
        try:
            write_model(native, path)
            shared = open_runner(path, runtime) if runtime == "onnxruntime" else None
            self._run: Tile = shared or _Idle(lambda: open_runner(path, runtime))
        except BaseException:
            self.close()
            raise

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        return self._run(tile[None])[0]

    def close(self) -> None:
        self._folder.cleanup()


class _Around:
    """The conversion in NumPy, around a network of normalised numbers."""

    def __init__(self, make: Callable[[], Any], numbers: Numbers, dtype: str) -> None:
        self._run, self._dtype = _Idle(make), np.dtype(dtype)
        lower, upper = numbers.normalisation.lower, numbers.normalisation.upper
        self._lower = lower[:, None, None]
        self._span = (upper - lower)[:, None, None]

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        unit = np.clip((tile - self._lower) / self._span, 0, 1).astype(np.float32)
        answer = self._run(unit[None])[0]
        native = answer * self._span.astype(np.float32) + self._lower.astype(np.float32)
        if self._dtype.kind == "f":
            return native.astype(self._dtype, copy=False)
        limits = np.iinfo(self._dtype)
        return np.clip(np.rint(native), limits.min, limits.max).astype(self._dtype)

    def close(self) -> None:
        """Nothing was written."""


def require_finite(numbers: Numbers, name: str) -> None:
    """Refuse a rescaling that leaves nothing of the numbers.

    Raises:
        DataError: limits that are not increasing, finite numbers.
    """
    limits = numbers.normalisation
    if (
        not (np.isfinite(limits.lower) & np.isfinite(limits.upper)).all()
        or not (limits.upper > limits.lower).all()
    ):
        raise DataError(f"{name}: --rescale turns its numbers into none; pass another factor")
