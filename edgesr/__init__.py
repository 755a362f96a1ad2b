"""edgesr compresses hyperspectral super-resolution networks for the edge, and proves it.

What is listed here is the public face, imported when it is first used:

>>> import edgesr
>>> cube = edgesr.read_cube("indian_pines")
>>> cube.shape
(145, 145, 200)
>>> edgesr.create_model("lkca_net", bands=48, scale=4, blocks=2).scale
4
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import edgesr_export  # noqa: F401  (nothing heavy; keeps ONNX Runtime from telling)

__version__ = "0.2.0"

if TYPE_CHECKING:
    from edgesr.commands.analyze import analyze
    from edgesr.commands.evaluate import evaluate
    from edgesr.commands.train import train
    from edgesr.compress.api import compress
    from edgesr.cube import Cube, read_cube, write_cube
    from edgesr.errors import DataError, EdgesrError, EdgesrWarning, ModelError, OptionError
    from edgesr.loading.weights import Loaded, load_network
    from edgesr.models import create_model
    from edgesr.recipe import AnalyzeRecipe, CompressRecipe, TrainRecipe, WeightsRecipe
    from edgesr.scenes.upscale import upscale

__all__ = [
    "AnalyzeRecipe",
    "CompressRecipe",
    "Cube",
    "DataError",
    "EdgesrError",
    "EdgesrWarning",
    "Loaded",
    "ModelError",
    "OptionError",
    "TrainRecipe",
    "WeightsRecipe",
    "analyze",
    "compress",
    "create_model",
    "evaluate",
    "load_network",
    "read_cube",
    "train",
    "upscale",
    "write_cube",
]

_PLACES = {
    "edgesr.commands.analyze": ("analyze",),
    "edgesr.commands.evaluate": ("evaluate",),
    "edgesr.commands.train": ("train",),
    "edgesr.compress": ("compress",),
    "edgesr.cube": ("Cube", "read_cube", "write_cube"),
    "edgesr.errors": ("DataError", "EdgesrError", "EdgesrWarning", "ModelError", "OptionError"),
    "edgesr.loading.weights": ("Loaded", "load_network"),
    "edgesr.models": ("create_model",),
    "edgesr.recipe": ("AnalyzeRecipe", "CompressRecipe", "TrainRecipe", "WeightsRecipe"),
    "edgesr.scenes.upscale": ("upscale",),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: torch takes seconds, help must not wait for it."""
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'edgesr' has no attribute {name!r}")
    module = import_module(_PLACE_OF[name])
    found = module if name == "compress" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
