"""AIMET's compression: weight SVD and spatial SVD, ranks chosen by its own greedy search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.inputs import Inputs, export, score
from benchmarks.peers.peer import TORCH, Environment, Made, Peer, register

RATIOS = ("0.8", "0.6", "0.5", "0.4")
"""Share of the MACs that is to be left."""


def compressed(inputs: Inputs, output: Path, *, scheme: str) -> Iterator[Made]:
    """One call of ModelCompressor for each ratio; what layers were scored is kept between them."""
    operators = define_nms()
    from aimet_torch.common.defs import (
        CompressionScheme,
        CostMetric,
        GreedySelectionParameters,
        RankSelectScheme,
    )
    from aimet_torch.compress import ModelCompressor
    from aimet_torch.defs import SpatialSvdParameters, WeightSvdParameters

    def evaluate(model: Any, iterations: int | None = None, use_cuda: bool = False) -> float:
        return score(inputs, model)

    scores: str | None = None
    for ratio in RATIOS:
        network = inputs.network()
        greedy = GreedySelectionParameters(
            target_comp_ratio=Decimal(ratio),
            num_comp_ratio_candidates=10,
            saved_eval_scores_dict=scores,
        )
        parameters: Any = SpatialSvdParameters(
            SpatialSvdParameters.Mode.auto, SpatialSvdParameters.AutoModeParams(greedy)
        )
        if scheme == "weight_svd":
            parameters = WeightSvdParameters(
                WeightSvdParameters.Mode.auto,
                WeightSvdParameters.AutoModeParams(RankSelectScheme.greedy, greedy),
            )
        small, _ = ModelCompressor.compress_model(
            network,
            eval_callback=evaluate,
            eval_iterations=1,
            input_shape=(1, *inputs.calibration.shape[1:]),
            compress_scheme=getattr(CompressionScheme, scheme),
            cost_metric=CostMetric.mac,
            parameters=parameters,
        )
        yield Made(f"ratio {ratio}", export(inputs, small, output / f"{ratio}.onnx"))
        kept = Path("data/greedy_selection_eval_scores_dict.pkl")
        scores = str(kept.resolve()) if kept.is_file() else None
    del operators


def define_nms() -> Any:
    """An operator without which torchvision, built for another torch, cannot be imported.

    AIMET imports torchvision for the names of a few layers; nothing of it is run.
    """
    import torch

    library = torch.library.Library("torchvision", "DEF")
    with suppress(RuntimeError):  # it is there
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


for scheme, title in (("spatial_svd", "spatial SVD"), ("weight_svd", "weight SVD")):
    register(
        Peer(
            f"aimet-{scheme.replace('_', '-')}",
            f"AIMET, {title}",
            f"ModelCompressor.compress_model, {scheme}, auto mode: greedy, 10 candidates a layer,"
            " cost MACs, target ratios as named; the score is MPSNR on the budget blocks",
            "https://quic.github.io/aimet-pages/releases/latest/techniques/compression/index.html",
            partial(compressed, scheme=scheme),
            Environment("aimet", ("aimet-torch==2.42.0", *TORCH)),
        )
    )
