"""The network to distil from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgesr.errors import ModelError
from edgesr.loading.fitting import fit
from edgesr.loading.weights import has_header, load_custom, load_network
from edgesr.loading.workload import Workload


def open_teacher(weights: Path | None, factory: str | None, workload: Workload) -> nn.Module:
    """Open the deeper network that was named, or take the reference.

    Args:
        weights: of the deeper network; None takes the uncompressed one.
        factory: ``package.module:function`` of a network that is none of edgesr's.
        workload: the reference and the scene.

    Raises:
        ModelError: it does not fit the scene.
    """
    if weights is None:
        return workload.model
    own = factory is None or has_header(weights)
    found = load_network(weights, factory).model if own else load_custom(str(factory), weights)
    try:
        fit(found.eval(), workload.example(), workload.scene.scale)
    except ModelError as error:
        raise ModelError(f"--teacher {weights} does not fit: {error}") from error
    return found
