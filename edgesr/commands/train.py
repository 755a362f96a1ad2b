"""``edgesr train``: from a recipe to a weights file that says how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgesr.compress.training_config import train_config
from edgesr.cube import Cube, Scene, make_scene, read_cube
from edgesr.cube.sampling import extremes
from edgesr.distill import checkpoint as checkpoints
from edgesr.distill import trainer
from edgesr.distill.parallel import place
from edgesr.errors import OptionError
from edgesr.evaluation.evaluate import evaluate, evaluate_bicubic
from edgesr.loading.card import trained_on
from edgesr.loading.fitting import check_trains, fit, scale_of
from edgesr.loading.weights import Loaded, load_custom, save_network
from edgesr.loading.workload import (
    files_read,
    load_weights,
    open_scene,
    prepare_torch,
    reading_options,
    scene_example,
)
from edgesr.locks import Lock
from edgesr.models import create_model
from edgesr.outputs import check_outputs
from edgesr.recipe.recipes import TrainRecipe


def train(
    recipe: TrainRecipe,
    output: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    half: bool = False,
    reads: Sequence[Path] = (),
) -> str:
    """Train a network and write its weights; return a summary, empty on all but the first process.

    Args:
        recipe: what to train on what, and how.
        output: weights file, ``.safetensors``; a checkpoint lies beside it while training runs.
        overwrite: replace an existing file.
        resume: continue from the checkpoint of an interrupted training.
        half: store the weights in half precision.
        reads: inputs beside those that the recipe names, such as its own file.

    Raises:
        OptionError: the output exists or is an input, another process is writing it, or there is
            nothing to resume.
    """
    if output.suffix != ".safetensors":
        raise OptionError(f"--output {output} must end in .safetensors")
    checkpoint = output.with_suffix(".checkpoint")
    inputs = [*files_read(recipe), *reads]
    check_outputs([output], inputs, overwrite=overwrite)
    check_outputs([checkpoint], inputs, overwrite=True)
    first = place("RANK", 0) == 0
    lock = Lock(checkpoint.with_name(f".{checkpoint.name}.lock"), output)
    with lock if first else nullcontext():
        if first:
            check_outputs([output], inputs, overwrite=overwrite)  # another may have just finished
            _check_checkpoint(checkpoint, overwrite=overwrite, resume=resume)
        return _train_network(recipe, output, checkpoint, resume=resume, half=half)


def _initial(recipe: TrainRecipe) -> Loaded | None:
    if recipe.initial is None:
        if recipe.checkpoint_key is not None:
            raise OptionError("--checkpoint-key names a part of --initial; pass that as well")
        return None
    return load_weights(recipe.model, Path(recipe.initial), recipe.checkpoint_key)


def _train_network(
    recipe: TrainRecipe, output: Path, checkpoint: Path, *, resume: bool, half: bool
) -> str:
    prepare_torch(recipe.device, recipe.threads, recipe.seed)
    initial = _initial(recipe)
    stored: Mapping[str, Any] = initial.metadata.get("data", {}) if initial else {}
    model = initial.model if initial else None
    if model is None and ":" in recipe.model:
        model = load_custom(recipe.model)
    scene = open_scene(recipe, stored, None if model is None else scale_of(model))
    scenes = [scene, *_extra_scenes(recipe, scene)]
    model = _new_network(recipe, scene) if model is None else model
    fit(model.eval(), scene_example(scene), scene.scale)
    check_trains(model, scene_example(scene))
    result = trainer.train(
        model, scenes, train_config(recipe), checkpoint=checkpoint, resume=resume
    )
    if place("RANK", 0) > 0:
        return ""
    if half:
        result.model.half().float()  # so that what is measured is what the file will hold
    metrics = evaluate(result.model, scene)
    bicubic = evaluate_bicubic(scene)
    save_network(
        result.model,
        output,
        data=trained_on(scene, result.model),
        training={
            "recipe": _without_folders(recipe),
            "best": result.best,
            "history": result.history,
            "test": {"network": metrics, "bicubic": bicubic},
        },
        half=half,
    )
    checkpoint.unlink(missing_ok=True)
    short = "; below bicubic: train longer" if metrics["mpsnr"] < bicubic["mpsnr"] else ""
    return (
        f"{output}: best epoch {result.best['epoch']} of {len(result.history)}; test region"
        f" {metrics['mpsnr']:.2f} dB, {metrics['sam']:.2f} deg"
        f" (bicubic {bicubic['mpsnr']:.2f} dB, {bicubic['sam']:.2f} deg){short}"
    )


def _without_folders(recipe: TrainRecipe) -> dict[str, Any]:
    """Return the recipe's values with files by name alone: weights travel, folders do not."""
    values = recipe.to_dict()
    for key in ("data", "extra", "initial"):
        values[key] = _names_alone(values[key])
    return values


def _names_alone(value: Any) -> Any:
    if isinstance(value, list):
        return [_names_alone(part) for part in value]
    return Path(value).name if value else value


def _check_checkpoint(checkpoint: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse what contradicts the checkpoint that is there, or is not."""
    if not checkpoint.exists():
        if resume:
            raise OptionError(f"there is no checkpoint {checkpoint} to resume; leave out --resume")
    elif not resume and not checkpoints.is_checkpoint(checkpoint):
        raise OptionError(
            f"{checkpoint}, where the training would keep its state, is something else; move"
            " it away, or choose another --output"
        )
    elif not (resume or overwrite):
        raise OptionError(f"{checkpoint} is an interrupted training; pass --resume or --overwrite")


def _new_network(recipe: TrainRecipe, scene: Scene) -> nn.Module:
    options: dict[str, Any] = {"bands": len(scene.bands), "scale": scene.scale}
    if recipe.model == "lkca_net":
        options |= {"blocks": recipe.blocks, "groups": recipe.groups, "drop_path": recipe.drop_path}
    elif recipe.model == "dacn":
        options |= {"variant": recipe.variant}
    return create_model(recipe.model, **{k: v for k, v in options.items() if v is not None})


def _extra_scenes(recipe: TrainRecipe, target: Scene) -> list[Scene]:
    """Open the extra cubes for training alone, each scaled by itself."""
    scenes = []
    for spec in recipe.extra:
        cube = read_cube(spec, reading_options(recipe))
        scenes.append(
            make_scene(
                cube.select_bands(match_bands(target, cube)),
                scale=target.scale,
                protocol="train_only",
                patch=target.train[0].height,
                degradation=target.degradation,
                normalisation=target.normalisation.mode,
                seed=recipe.seed,
            )
        )
    return scenes


def match_bands(target: Scene, cube: Cube) -> list[int]:
    """Return, for each band of the target scene, the index of its counterpart in another cube.

    Bands are matched by wavelength where both cubes know theirs; otherwise by their relative
    position, which is right for cubes of one instrument that lack a few bands. Where the
    counterpart is constant (water absorption set to 0), the nearest band that varies stands in.
    """
    lowest, highest = extremes(cube, ~cube.invalid())
    usable = np.flatnonzero(highest > lowest)
    if target.cube.wavelengths is not None and cube.wavelengths is not None:
        wanted, offered = target.cube.wavelengths, cube.wavelengths[usable]
    else:
        wanted = np.asarray(target.bands) / max(target.source_bands - 1, 1)
        offered = usable / max(cube.bands - 1, 1)
    return usable[np.abs(wanted[:, None] - offered[None, :]).argmin(axis=1)].tolist()
