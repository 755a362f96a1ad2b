"""The card of a network: what it was trained on, in its weights and in every file made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from edgesr_export.card import GLOBAL, ModelCard, NativeNumbers
from torch import nn

from edgesr import __version__
from edgesr.cube import Scene
from edgesr.cube.bands import parse_bands
from edgesr.errors import ModelError, shown
from edgesr.evaluation.context import measure_context
from edgesr.files import file_sha256
from edgesr.loading.signature import call_of
from edgesr.loading.weights import Loaded
from edgesr.loading.workload import scene_example

NEEDED = ("normalisation", "scale", "bands")


def trained_on(scene: Scene, model: nn.Module) -> dict[str, Any]:
    """What weights say of the scene that they were trained on: ``data`` of their header.

    Beside :meth:`edgesr.cube.Scene.describe` it has the widths of the bands, the range of the
    training pixels, what fills nodata, and the network's context, which is measured.
    """
    context: int | str = GLOBAL
    call = call_of(model)
    if not (call and call.side):  # in tiles of its own it looks where they happen to lie
        context = measure_context(
            model.eval().cpu(), lambda side: scene_example(scene, side), scene.scale
        )
    return {**scene.describe(), **scene.describe_numbers(), "context": context}


def make_card(data: Mapping[str, Any], network: str = "", student: str = "") -> ModelCard:
    """The card of a network in float32, of normalised input and free size.

    Args:
        data: ``data`` of the header of its weights. What older weights do not say comes from their
            normalisation: the range is what becomes 0 to 1, and the middle of it fills nodata.
        network: its name.
        student: SHA-256 of its weights.

    Raises:
        ModelError: the weights do not say what they were trained on.
    """
    if missing := [key for key in NEEDED if key not in data]:
        raise ModelError(
            f"the weights carry no {missing[0]}; use weights written by edgesr train or compress"
        )
    limits = data["normalisation"]
    lower, upper = np.asarray(limits["lower"]), np.asarray(limits["upper"])
    index = parse_bands(data["bands"], 1 << 16)
    numbers = data.get("native") or {
        "low": lower.tolist(),
        "high": upper.tolist(),
        "fill": ((lower + upper) / 2).tolist(),
    }
    plain = {
        "scale": data["scale"],
        "bands": {
            "index": index,
            "count": data.get("source_bands") or max(index) + 1,
            "wavelengths_nm": _usable(data.get("wavelengths_nm")),
            "fwhm_nm": _usable(data.get("fwhm_nm")),
        },
        "normalisation": limits,
        "native": {
            "dtype": _known(data.get("dtype")),
            "nodata": data.get("nodata"),
            "gain": _usable(data.get("gain")),
            "offset": _usable(data.get("offset")),
            **numbers,
        },
        "context": data.get("context"),
        "network": network[:1000],
        "student": student,
        "data": str(data.get("name", ""))[:1000],
        "version": __version__,
    }
    try:
        return msgspec.convert(plain, ModelCard)
    except ValueError as error:  # msgspec's own, and text beyond Unicode
        what, at, place = str(error).rpartition(" - at ")
        said = shown((what or place)[:160] + at + (place if what else ""))
        raise ModelError(f"the weights say what no network is trained on: {said}") from error


def card_of_weights(path: Path, loaded: Loaded) -> ModelCard:
    """The card of weights that were loaded from ``path``."""
    metadata = loaded.metadata
    return make_card(metadata.get("data") or {}, str(metadata.get("model", "")), file_sha256(path))


def _usable(values: Any) -> Any:
    """Numbers that a card can hold; those of a cube may be absurd, and are left out then."""
    sane = values is not None and np.abs(np.asarray(values, np.float64)).max(initial=0) <= 1e30
    return values if sane else None


def _known(dtype: Any) -> str:
    """The type of the training cube as a card has it; float32 for rarer ones."""
    name = str(dtype or "float32").lstrip("<>=|")
    known = msgspec.json.schema(NativeNumbers)["$defs"]["NativeNumbers"]["properties"]["dtype"]
    return name if name in known["enum"] else "float32"
