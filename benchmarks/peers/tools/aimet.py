"""AIMET's compression: weight SVD and spatial SVD, of all layers by its own greedy search, and of
the upsampler alone at given ratios."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from benchmarks.peers.inputs import Inputs, export, score
from benchmarks.peers.peer import TORCH, Environment, Made, Peer, register

RATIOS = ("0.95", "0.9", "0.8", "0.6", "0.5", "0.4", "0.3", "0.2")
"""Share of the MACs that is to be left."""

ALONE = ("0.2", "0.1", "0.05", "0.03", "0.02", "0.01")
"""Share of the upsampler's MACs that is to be left, where it alone is compressed."""

FITS = {False: "", True: ", monotonic fit"}
"""Without and with the fit that AIMET has for layers whose scores do not rise with their ratios."""


def upsampler(inputs: Inputs, output: Path, *, scheme: str) -> Iterator[Made]:
    """One call of ModelCompressor for each ratio of the upsampler."""
    stand_in_for_torchvision()
    from aimet_torch.defs import ModuleCompRatioPair

    kind = parameters_of(scheme)
    for ratio in ALONE:
        network = inputs.network()
        pair = ModuleCompRatioPair(network.upsampler, float(ratio))
        small = compress(
            inputs, network, scheme, kind(kind.Mode.manual, kind.ManualModeParams([pair]))
        )
        yield Made(f"ratio {ratio}", export(inputs, small, output / f"{ratio}.onnx"))


def compressed(inputs: Inputs, output: Path, *, scheme: str) -> Iterator[Made]:
    """One call of ModelCompressor for each setting; what layers were scored is kept between them.

    Yields:
        The network of each setting; where the search ends as with one before, only that one.
    """
    stand_in_for_torchvision()
    from aimet_torch.common.defs import GreedySelectionParameters, RankSelectScheme

    kind = parameters_of(scheme)
    scores: str | None = None
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for (fit, words), ratio in itertools.product(FITS.items(), RATIOS):
        greedy = GreedySelectionParameters(
            target_comp_ratio=Decimal(ratio),
            num_comp_ratio_candidates=10,
            use_monotonic_fit=fit,
            saved_eval_scores_dict=scores,
        )
        chosen = (RankSelectScheme.greedy, greedy) if scheme == "weight_svd" else (greedy,)
        asked = kind(kind.Mode.auto, kind.AutoModeParams(*chosen))
        small = compress(inputs, inputs.network(), scheme, asked)
        scores = str(Path("data/greedy_selection_eval_scores_dict.pkl").resolve())
        shapes = tuple(tuple(one.shape) for one in small.parameters())
        if shapes not in seen:
            seen.add(shapes)
            path = output / f"{ratio}{'-fit' if fit else ''}.onnx"
            yield Made(f"ratio {ratio}{words}", export(inputs, small, path))


def parameters_of(scheme: str) -> Any:
    """The class of a scheme's parameters."""
    from aimet_torch.defs import SpatialSvdParameters, WeightSvdParameters

    return {"spatial_svd": SpatialSvdParameters, "weight_svd": WeightSvdParameters}[scheme]


def compress(inputs: Inputs, network: Any, scheme: str, parameters: Any) -> Any:
    """The network, compressed; candidates are scored by MPSNR on the budget blocks."""
    from aimet_torch.common.defs import CompressionScheme, CostMetric
    from aimet_torch.compress import ModelCompressor

    def evaluate(model: Any, iterations: int | None = None, use_cuda: bool = False) -> float:
        return score(inputs, model)

    small, _ = ModelCompressor.compress_model(
        network,
        eval_callback=evaluate,
        eval_iterations=1,
        input_shape=(1, *inputs.calibration.shape[1:]),
        compress_scheme=getattr(CompressionScheme, scheme),
        cost_metric=CostMetric.mac,
        parameters=parameters,
    )
    return small


def stand_in_for_torchvision() -> None:
    """Names alone, where torchvision cannot be imported because it is built for another torch.

    AIMET imports it for the names of a few layers and data sets; nothing of it is run.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        whole = _Names("torchvision")
        for part in ("ops", "transforms", "datasets"):
            setattr(whole, part, _Names(f"torchvision.{part}"))


class _Names(types.ModuleType):
    """A module in which every name is a class of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.__path__: list[str] = []
        sys.modules[name] = self

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, type(name, (), {}))
        return getattr(self, name)


DOCUMENTATION = (
    "https://quic.github.io/aimet-pages/releases/latest/techniques/compression/index.html"
)
TOOL = Environment("aimet", ("aimet-torch==2.42.0", *TORCH))

for scheme, title, note in (
    (
        "spatial_svd",
        "spatial SVD",
        "Its search weighs all layers by one threshold of the score. The candidates of the"
        " upsampler, 73 % of the MACs, all score within 0.01 dB: it steps over most targets.",
    ),
    ("weight_svd", "weight SVD", ""),
):
    name = f"aimet-{scheme.replace('_', '-')}"
    register(
        Peer(
            name,
            f"AIMET, {title}",
            f"ModelCompressor.compress_model, {scheme}, auto mode: greedy, 10 candidates a layer,"
            f" cost MACs, without and with monotonic fit, target ratios {', '.join(RATIOS)} (of"
            " those at which the search ends alike, the first is shown); the score is MPSNR on the"
            " budget blocks",
            DOCUMENTATION,
            partial(compressed, scheme=scheme),
            TOOL,
            minutes=90.0,
            note=note,
        )
    )
    register(
        Peer(
            f"{name}-upsampler",
            f"AIMET, {title}, upsampler",
            f"ModelCompressor.compress_model, {scheme}, manual mode: the upsampler alone, at a"
            f" ratio of {', '.join(ALONE)}, cost MACs",
            DOCUMENTATION,
            partial(upsampler, scheme=scheme),
            TOOL,
        )
    )
