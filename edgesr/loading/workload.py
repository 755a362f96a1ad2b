"""Open a scene and a network, and make sure that they fit.

Only the functions at the end know a recipe; they turn it into what the others take.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgesr.cube import Cube, Normalisation, Scene, make_scene, read_cube
from edgesr.cube.bands import format_bands, parse_bands
from edgesr.cube.matching import Rescale, check_numbers, match_bands
from edgesr.cube.options import ReadOptions
from edgesr.cube.parts import cube_files
from edgesr.cube.reading import with_nodata_mask
from edgesr.cube.sampling import covered, sampled_pixels
from edgesr.errors import EdgesrWarning, ModelError, OptionError, brief, shown
from edgesr.loading.fitting import fit, scale_of
from edgesr.loading.functional_convs import make_plain
from edgesr.loading.weights import Loaded, has_header, load_custom, load_network
from edgesr.models import is_own
from edgesr.progress import log
from edgesr.recipe.recipes import DEFAULT_MODEL, EMBEDDED, Recipe, WeightsRecipe

SHIPPED = {(DEFAULT_MODEL, EMBEDDED): "lkca_net_x4_indian_pines.safetensors"}
NUMBERS = 1 << 20  # values that are looked at, whether they are of the right kind
Size = int | tuple[int, int]
"""LR height and width of an image, or the side of a square one."""

LR_PATCH = 16  # LR side of a training patch: 64 / 4 and 128 / 8, as LKCA-Net was trained


@dataclass(frozen=True)
class SceneOptions:
    """Which cube, and how it is treated; what is None comes from the weights, else by default.

    Attributes:
        data: file, ``file.mat:variable``, ``file.h5:/path``, or the embedded cube.
        scale: magnification r; by default the network's, else 4.
        protocol: name of a split; by default the weights' own for the same cube, else "auto".
        bands: "all", "clean" or a list such as "4-32,40-55".
        normalisation: "scene" or "band".
        degradation: "bicubic" or "area".
        patch: side of a training patch, HR pixels.
        seed: of the split.
        reading: what is taken instead of what the file says.
    """

    data: str = EMBEDDED
    scale: int | None = None
    protocol: str | None = None
    bands: str | None = None
    normalisation: str | None = None
    degradation: str | None = None
    patch: int | None = None
    seed: int = 0
    reading: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True)
class Workload:
    """A scene, a network that fits it, its name, and what its weights file says of itself."""

    scene: Scene
    model: nn.Module
    metadata: Mapping[str, Any]
    weights: str
    network: str

    def example(self, size: Size = LR_PATCH) -> Tensor:
        """Return a real LR tile [1, B, h, w] of a size; see :func:`scene_example`."""
        return scene_example(self.scene, size)


def scene_example(scene: Scene, size: Size = LR_PATCH) -> Tensor:
    """Return a real LR tile [1, B, h, w] of a size, repeated where a patch is smaller."""
    height, width = (size, size) if isinstance(size, int) else size
    lr, _ = scene.pair(scene.train[0])
    repeats = [1, -(-height // lr.shape[1]), -(-width // lr.shape[2])]
    return lr.repeat(repeats)[None, :, :height, :width].contiguous()


def load_workload(
    options: SceneOptions,
    model: str = DEFAULT_MODEL,
    weights: Path | None = None,
    key: str | None = None,
) -> Workload:
    """Load a network and a scene that it fits.

    Args:
        options: the scene.
        model: registered name, or ``package.module:factory``.
        weights: of the network; None takes the shipped ones, or what the factory made.
        key: where in a checkpoint they lie; None finds it.

    Raises:
        ModelError: there are no such weights, or the network does not fit the data.
        DataError: the cube cannot be used.
        OptionError: the scale contradicts the network's.
    """
    network, metadata, source = _load(model, weights, options.data, key)
    scene = load_scene(options, metadata.get("data", {}), scale_of(network))
    name = str(metadata.get("model", model))
    workload = Workload(scene, network.eval(), metadata, source, name)
    fit(network, workload.example(), scene.scale)
    if is_own(network):
        return workload
    plain, changes = make_plain(network, workload.example())
    if changes:
        log(f"{len(changes)} of the network's own convolutions became layers that can shrink")
    return replace(workload, model=plain)


def prepare_torch(device: str = "cpu", threads: int | None = None, seed: int = 0) -> None:
    """Set the seed and the CPU threads, all cores by default; refuse a device that is not there.

    Raises:
        OptionError: the device does not exist.
    """
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()
    except Exception as error:  # some devices are packages of their own, which are not here
        raise OptionError(f"--device {shown(device)} cannot be used: {brief(error)}") from error
    if place.type == "cpu" and place.index:
        raise OptionError(f"--device {device} does not exist; say cpu, and --threads for its cores")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    torch.manual_seed(seed)


def load_scene(
    options: SceneOptions, stored: Mapping[str, Any], scale: int | Callable[[Tensor], int] | None
) -> Scene:
    """Read a cube and split it; what the weights were trained with is the default.

    Args:
        options: name the cube and, where it differs from the weights, how to treat it.
        stored: ``data`` of the weights' metadata: bands, normalisation, scale; or empty.
        scale: the network's magnification, where it is known, or a function that finds it on a
            tile [1, B, h, w]. It is called where neither the options nor the weights say it.

    Raises:
        DataError: the cube cannot be used, or has not the bands that the weights need.
        OptionError: the scale contradicts the network's.
    """
    known = None if callable(scale) else scale
    known = known or stored.get("scale")
    if options.scale and known and options.scale != known:
        raise OptionError(f"--scale {options.scale} contradicts the network's scale {known}")
    cube = _with_stored_nodata(read_cube(options.data, options.reading), stored)
    known = options.scale or known
    if known is None and callable(scale):  # pixels of the cube as they are do for a try
        known = scale(scene_example(_divide(options, stored, cube, 1)))
    return _divide(options, stored, cube, known or 4)


def _with_stored_nodata(cube: Cube, stored: Mapping[str, Any]) -> Cube:
    """The cube that weights were trained on without its nodata, where no one else says what it is.

    Otherwise it would be divided otherwise than for the training.
    """
    nodata = stored.get("nodata")
    if cube.nodata is not None or nodata is None or stored.get("name") != cube.name:
        return cube
    try:
        value = float(nodata)  # "nan" is a number, too
    except (TypeError, ValueError):
        raise ModelError(f"the weights' nodata is {nodata!r:.40}, which is no number") from None
    return with_nodata_mask(replace(cube, nodata=value))


def _divide(options: SceneOptions, stored: Mapping[str, Any], cube: Cube, scale: int) -> Scene:
    matched = None if options.bands else stored_bands(stored, cube)
    reordered = matched is not None and matched != sorted(matched)
    source = cube
    if matched is not None and reordered:  # options say bands in ascending order alone
        cube = cube.select_bands(matched)
        chosen: str | None = f"0-{len(matched) - 1}"
    else:
        chosen = options.bands or (matched and format_bands(matched)) or None
    wishes: dict[str, Any] = {
        "bands": chosen,
        "normalisation": options.normalisation or stored.get("normalisation", {}).get("mode"),
        "degradation": options.degradation or stored.get("degradation"),
        "patch": options.patch,
    }
    scene = make_scene(
        cube,
        scale=scale,
        protocol=options.protocol or _default_protocol(options.data, source, stored),
        seed=options.seed,
        **{name: wish for name, wish in wishes.items() if wish is not None},
    )
    if matched is not None and reordered:
        scene = replace(scene, bands=tuple(matched), source_bands=source.bands)
    if "normalisation" in stored and not (options.normalisation or options.bands):
        scene = _in_trained_numbers(scene, stored)
    return scene


def _in_trained_numbers(scene: Scene, stored: Mapping[str, Any]) -> Scene:
    """The scene with the normalisation of the weights, in its own numbers.

    Where both sides know gain and offset, these lead from one to the other. A scene in other units
    is refused; a warning tells where a part lies outside the training range.
    """
    limits = Normalisation.from_dict(stored["normalisation"])
    known = stored.get("native") or {"low": limits.lower, "high": limits.upper}
    low, high = np.asarray(known["low"]), np.asarray(known["high"])
    usual = np.asarray(known.get("fill", (low + high) / 2))
    rescale = Rescale.between(
        scene.cube.gain, scene.cube.offset, stored.get("gain"), stored.get("offset")
    )
    if rescale is not None:
        lower, upper = rescale.inverse(limits.lower), rescale.inverse(limits.upper)
        limits = Normalisation(limits.mode, lower, upper)
        low, high, usual = (rescale.inverse(one) for one in (low, high, usual))
    pixels = sampled_pixels(scene.cube, covered(scene.train, scene.cube.extent), limit=NUMBERS)
    advice = "train on it, or let --normalisation band fit it anew"
    if warning := check_numbers(pixels, low, high, usual, scene.cube.name, lambda _: advice):
        warnings.warn(warning, EdgesrWarning, stacklevel=2)
    return replace(scene, normalisation=limits)


def _default_protocol(data: str, cube: Cube, stored: Mapping[str, Any]) -> str:
    """Return the protocol that the weights were trained by, so that they never see a test pixel."""
    if data == EMBEDDED:
        return EMBEDDED
    return str(stored.get("protocol", "auto")) if stored.get("name") == cube.name else "auto"


def stored_bands(stored: Mapping[str, Any], cube: Cube) -> list[int] | None:
    """Return the indices that trained weights take of a cube, in the network's order.

    See :func:`edgesr.cube.matching.match_bands`: by wavelength where both know theirs.

    Args:
        stored: ``data`` of the weights' metadata; None is returned where it has no
            normalisation.
        cube: to take them of; as many bands as the weights use means that they are selected
            already, where wavelengths do not tell.

    Raises:
        DataError: bands are missing.
    """
    if "normalisation" not in stored:
        return None
    return match_bands(
        stored.get("wavelengths_nm"),
        stored.get("fwhm_nm"),
        _indices(stored["bands"]),
        cube.wavelengths,
        cube.bands,
        cube.name,
    )


def _indices(bands: str | Sequence[int]) -> Sequence[int]:
    """As weights have them, in ascending order, or as a card has them."""
    return parse_bands(bands, 1 << 16) if isinstance(bands, str) else bands


def _load(
    model: str, weights: Path | None, data: str, key: str | None
) -> tuple[nn.Module, Mapping[str, Any], str]:
    if weights is None and key is not None:
        raise OptionError("--checkpoint-key names a part of --weights; pass that as well")
    path = weights or shipped_weights(model, data)
    if path is None:
        if ":" in model:
            return load_custom(model), {}, "as the factory made it"
        raise ModelError(
            f"no weights are shipped for {model} on {data}; train some with"
            f" edgesr train --model {model} --data {data} --output FILE, then pass"
            " --weights FILE"
        )
    loaded = load_weights(model, path, key)
    return loaded.model, loaded.metadata, path.name


def load_weights(model: str, path: Path, key: str | None = None) -> Loaded:
    """Load the weights of a network that is named by ``--model``.

    Args:
        model: registered name, or ``package.module:factory``; the default one is overruled by what
            the file says.
        path: weights of edgesr; of a factory's network, also a plain state dict.
        key: where in a checkpoint they lie; None finds it.

    Raises:
        OptionError: a key for weights of edgesr, which have none.
        ModelError: the weights cannot be read, or belong to another network.
    """
    factory = model if ":" in model else None
    if factory and not has_header(path):
        return Loaded(load_custom(factory, path, key))
    if key is not None:
        raise OptionError(f"{path} holds one network's weights; leave out --checkpoint-key")
    loaded = load_network(path, factory)
    held = str(loaded.metadata["model"])
    if model not in (DEFAULT_MODEL, held) and not (factory and ":" in held):
        raise ModelError(f"{path} holds weights of {held}, not of {model}; leave out --model")
    return loaded


def shipped_weights(model: str, data: str) -> Path | None:
    """Return the path of the weights that the package ships for a network and a cube, if any."""
    name = SHIPPED.get((model, data))
    return Path(str(files("edgesr") / "teachers" / name)) if name else None


def reading_options(recipe: Recipe) -> ReadOptions:
    """How the cubes that a recipe names are read."""
    return ReadOptions(recipe.nodata, recipe.axes, recipe.wavelength_unit)


def scene_options(recipe: Recipe) -> SceneOptions:
    """The scene that a recipe names."""
    return SceneOptions(
        data=recipe.data,
        scale=recipe.scale,
        protocol=recipe.protocol,
        bands=recipe.bands,
        normalisation=recipe.normalisation,
        degradation=recipe.degradation,
        patch=recipe.patch,
        seed=recipe.seed,
        reading=reading_options(recipe),
    )


def open_scene(
    recipe: Recipe, stored: Mapping[str, Any], scale: int | Callable[[Tensor], int] | None
) -> Scene:
    """Read the scene that a recipe names; see :func:`load_scene`."""
    return load_scene(scene_options(recipe), stored, scale)


def open_workload(recipe: WeightsRecipe) -> Workload:
    """Load the network and the scene that a recipe names, on torch as it says.

    See :func:`prepare_torch` and :func:`load_workload`.
    """
    prepare_torch(recipe.device, recipe.threads, recipe.seed)
    weights = Path(recipe.weights) if recipe.weights else None
    return load_workload(scene_options(recipe), recipe.model, weights, recipe.checkpoint_key)


def files_read(recipe: Recipe) -> list[Path]:
    """Return every file that a recipe names, with what belongs to it: cubes and weights."""
    values = recipe.to_dict()
    cubes = [recipe.data, *(values.get("extra") or ())]
    weights = [values.get(name) for name in ("weights", "teacher", "initial")]
    return [
        *(file for cube in cubes if cube.strip() for file in cube_files(cube.strip())),
        *(Path(name) for name in weights if name),
    ]
