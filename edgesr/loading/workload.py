"""Open what a recipe names: the scene and the network, and make sure that they fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.cube import Cube, Normalisation, Scene, make_scene, read_cube
from edgesr.cube.bands import format_bands, parse_bands
from edgesr.cube.parts import cube_files
from edgesr.errors import DataError, ModelError, OptionError, brief
from edgesr.loading.functional_convs import make_plain
from edgesr.loading.infer_signature import find_call
from edgesr.loading.signature import adapt, call_of
from edgesr.loading.weights import Loaded, has_header, load_custom, load_network
from edgesr.models import is_own
from edgesr.progress import log
from edgesr.recipe.recipes import DEFAULT_MODEL, EMBEDDED, Recipe, WeightsRecipe
from edgesr.surgery.structure import clone

SHIPPED = {(DEFAULT_MODEL, EMBEDDED): "lkca_net_x4_indian_pines.safetensors"}
LR_PATCH = 16  # LR side of a training patch: 64 / 4 and 128 / 8, as LKCA-Net was trained


@dataclass(frozen=True)
class Workload:
    """A scene, a network that fits it, its name, and what its weights file says of itself."""

    scene: Scene
    model: nn.Module
    metadata: Mapping[str, Any]
    weights: str
    network: str

    def example(self, side: int = LR_PATCH) -> Tensor:
        """Return a real LR tile [1, B, side, side]; see :func:`scene_example`."""
        return scene_example(self.scene, side)


def scene_example(scene: Scene, side: int = LR_PATCH) -> Tensor:
    """Return a real LR tile [1, B, side, side], repeated where a patch is smaller."""
    lr, _ = scene.pair(scene.train[0])
    repeats = [1, *(-(-side // length) for length in lr.shape[1:])]
    return lr.repeat(repeats)[None, :, :side, :side].contiguous()


def open_workload(recipe: WeightsRecipe) -> Workload:
    """Load the network and the scene that a recipe names.

    Raises:
        ModelError: no weights are named or known, or the network does not fit the data.
        DataError: the cube cannot be used.
        OptionError: the device does not exist.
    """
    prepare_torch(recipe)
    model, metadata, weights = _open_network(recipe)
    scene = open_scene(recipe, metadata.get("data", {}), scale_of(model))
    name = str(metadata.get("model", recipe.model))
    workload = Workload(scene, model.eval(), metadata, weights, name)
    fit(model, workload.example(), scene.scale)
    if is_own(model):
        return workload
    plain, changes = make_plain(model, workload.example())
    if changes:
        log(f"{len(changes)} of the network's own convolutions became layers that can shrink")
    return replace(workload, model=plain)


def files_read(recipe: Recipe) -> list[Path]:
    """Return every file that a recipe names, with what belongs to it: cubes and weights."""
    values = recipe.to_dict()
    cubes = [recipe.data, *(values.get("extra") or ())]
    weights = [values.get(name) for name in ("weights", "teacher", "initial")]
    return [
        *(file for cube in cubes if cube.strip() for file in cube_files(cube.strip())),
        *(Path(name) for name in weights if name),
    ]


def scale_of(model: nn.Module) -> int | Callable[[Tensor], int]:
    """Return a network's magnification; of a third-party one, a function of an LR tile."""
    if is_own(model):
        return int(model.scale)  # type: ignore[arg-type]
    call = call_of(model)
    return call.scale if call else lambda example: find_call(model, example)[1]


def prepare_torch(recipe: Recipe) -> None:
    """Set threads and seed; refuse a device that is not there.

    Raises:
        OptionError: the device does not exist.
    """
    try:
        torch.zeros(1, device=recipe.device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"--device {recipe.device} cannot be used: {reason}") from error
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    torch.manual_seed(recipe.seed)


def open_scene(
    recipe: Recipe, stored: Mapping[str, Any], scale: int | Callable[[Tensor], int] | None
) -> Scene:
    """Read the recipe's cube and split it; what the weights were trained with is the default.

    Args:
        recipe: names the cube and, where it differs from the weights, how to treat it.
        stored: ``data`` of the weights' metadata: bands, normalisation, scale; or empty.
        scale: the network's magnification, where it is known, or a function that finds it on a
            tile [1, B, h, w]. It is called where neither the recipe nor the weights say it.

    Raises:
        DataError: the cube cannot be used, or has not the bands that the weights need.
        OptionError: the scale contradicts the network's.
    """
    known = None if callable(scale) else scale
    known = known or stored.get("scale")
    if recipe.scale and known and recipe.scale != known:
        raise OptionError(f"--scale {recipe.scale} contradicts the network's scale {known}")
    cube = read_cube(recipe.data)
    known = recipe.scale or known
    if known is None and callable(scale):  # pixels of the cube as they are do for a try
        known = scale(scene_example(_divide(recipe, stored, cube, 1)))
    return _divide(recipe, stored, cube, known or 4)


def _divide(recipe: Recipe, stored: Mapping[str, Any], cube: Cube, scale: int) -> Scene:
    known_bands = stored_bands(stored, cube.bands)
    options: dict[str, Any] = {
        "bands": recipe.bands or (known_bands and format_bands(known_bands)),
        "normalisation": recipe.normalisation or stored.get("normalisation", {}).get("mode"),
        "degradation": recipe.degradation or stored.get("degradation"),
        "patch": recipe.patch,
    }
    scene = make_scene(
        cube,
        scale=scale,
        protocol=recipe.protocol or _default_protocol(recipe.data, cube, stored),
        seed=recipe.seed,
        **{name: wish for name, wish in options.items() if wish is not None},
    )
    if "normalisation" in stored and not (recipe.normalisation or recipe.bands):
        scene = replace(scene, normalisation=Normalisation.from_dict(stored["normalisation"]))
    return scene


def _default_protocol(data: str, cube: Cube, stored: Mapping[str, Any]) -> str:
    """Return the protocol that the weights were trained by, so that they never see a test pixel."""
    if data == EMBEDDED:
        return EMBEDDED
    return str(stored.get("protocol", "auto")) if stored.get("name") == cube.name else "auto"


def stored_bands(stored: Mapping[str, Any], available: int) -> list[int] | None:
    """Return the indices that trained weights take of a cube with ``available`` bands.

    Args:
        stored: ``data`` of the weights' metadata; None is returned where it has no
            normalisation.
        available: bands of the cube; as many as the weights use means that they are selected
            already.

    Raises:
        DataError: the cube has too few bands.
    """
    if "normalisation" not in stored:
        return None
    count = len(stored["normalisation"]["lower"])
    if available == count:
        return list(range(available))
    try:
        return list(parse_bands(stored["bands"], available))
    except OptionError as error:
        raise DataError(
            f"the weights use bands {stored['bands']}, the cube has {available} bands; pass the"
            " cube they were trained on, or train new weights with edgesr train"
        ) from error


def _open_network(recipe: WeightsRecipe) -> tuple[nn.Module, Mapping[str, Any], str]:
    path = Path(recipe.weights) if recipe.weights else shipped_weights(recipe.model, recipe.data)
    if path is None:
        if ":" in recipe.model:
            return load_custom(recipe.model), {}, "as the factory made it"
        raise ModelError(
            f"no weights are shipped for {recipe.model} on {recipe.data}; train some with"
            f" edgesr train --model {recipe.model} --data {recipe.data} --output FILE, then pass"
            " --weights FILE"
        )
    loaded = load_weights(recipe.model, path)
    return loaded.model, loaded.metadata, path.name


def load_weights(model: str, path: Path) -> Loaded:
    """Load the weights of a network that is named by ``--model``.

    Args:
        model: registered name, or ``package.module:factory``; the default one is overruled by what
            the file says.
        path: weights of edgesr; of a factory's network, also a plain state dict.

    Raises:
        ModelError: the weights cannot be read, or belong to another network.
    """
    factory = model if ":" in model else None
    if factory and not has_header(path):
        return Loaded(load_custom(factory, path))
    loaded = load_network(path, factory)
    held = str(loaded.metadata["model"])
    if model not in (DEFAULT_MODEL, held) and not (factory and ":" in held):
        raise ModelError(f"{path} holds weights of {held}, not of {model}; leave out --model")
    return loaded


def shipped_weights(model: str, data: str) -> Path | None:
    """Return the path of the weights that the package ships for a network and a cube, if any."""
    name = SHIPPED.get((model, data))
    return Path(str(files("edgesr") / "teachers" / name)) if name else None


def fit(model: nn.Module, example: Tensor, scale: int) -> None:
    """Make ``model(x)`` mean [N, B, h, w] -> [N, B, h r, w r], whoever wrote the network.

    Args:
        model: a network; where another call than the plain one fits, it is adapted in place, see
            :func:`edgesr.loading.signature.adapt`.
        example: LR tile [1, B, h, w].
        scale: r.

    Raises:
        ModelError: no call gives an image of that size, or it is not finite.
    """
    if not is_own(model) and call_of(model) is None:
        call, _ = find_call(model, example, scale)
        adapt(model, call)
        if not call.plain:
            log(f"the network is called as {call.describe()}")
    check_fit(model, example, scale)


@torch.no_grad()
def check_fit(model: nn.Module, example: Tensor, scale: int) -> None:
    """Run a network once; refuse it when its output is not ``scale`` times the input.

    Args:
        model: any network [1, B, h, w] -> [1, B, h r, w r].
        example: LR tile [1, B, h, w].
        scale: r.

    Raises:
        ModelError: it fails on the tile, or its output has another shape or is not finite.
    """
    received = list(example.shape)
    try:
        output = model(example)
    except Exception as error:  # a third-party code may raise anything
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"the network does not run on a tile {received} of this data ({reason}); check"
            " --bands and --weights"
        ) from error
    expected = [1, received[1], received[2] * scale, received[3] * scale]
    if not isinstance(output, Tensor) or list(output.shape) != expected:
        shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(
            f"the network turns {received} into {shape}, not {expected}; check --scale and --bands"
        )
    if not torch.isfinite(output).all():
        raise ModelError(
            f"the network answers a tile {received} with values that are not finite; use other"
            " weights"
        )


def check_trains(model: nn.Module, example: Tensor) -> None:
    """Refuse a third-party network that cannot be trained; a copy of it runs once in training mode.

    Args:
        model: a network that :func:`fit` has passed.
        example: LR tile [1, B, h, w].

    Raises:
        ModelError: in training mode it fails or gives something else than in evaluation, or no
            gradient passes it.
    """
    if is_own(model):
        return
    with torch.no_grad():
        expected = model(example).shape[1:]
    trained = clone(model).train().requires_grad_()
    try:
        output = trained(torch.cat([example, example.flip(-1)]))
    except Exception as error:  # a third-party code may raise anything
        raise ModelError(f"the network does not run in training mode ({brief(error)})") from error
    if not isinstance(output, Tensor) or output.shape[1:] != expected:
        shape = [1, *output.shape[1:]] if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(
            f"in training mode the network gives {shape}, not {[1, *expected]}; let it return the"
            " image alone, as in evaluation"
        )
    if not output.requires_grad:
        raise ModelError(
            "no gradient passes the network, so it cannot be trained; take no_grad,"
            " inference_mode and detach out of its forward"
        )
