"""The tensors of a network's state; what else a third-party network keeps there stays its own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the entries of the state dict that are tensors."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def restore(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what :func:`tensors_of` returned."""
    model.load_state_dict({**model.state_dict(), **tensors})
