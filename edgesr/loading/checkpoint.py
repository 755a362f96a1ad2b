"""State dicts in the files that people train with, under the names that their network has."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgesr.errors import ModelError, brief

EXTRA_STATE = "_extra_state"
"""How torch.nn ends the key of what ``get_extra_state`` returned."""

NESTED_STATE = (
    *("params_ema", "ema", "state_dict", "model_state_dict", "params", "model"),
    *("netG", "generator", "net", "network", "weights"),
)
"""Where checkpoints keep the state dict; of several that are there, the first."""

WRAPPERS = ("module", "_orig_mod", "model", "netG", "generator", "net", "network")
"""Prefixes that data-parallel training, compilation and trainers put before every key."""

_WEIGHT_NORM = (
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
)
"""What weight normalisation is called in PyTorch's old form and in its new one."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state dict in a PyTorch file, which is never allowed to run code.

    Raises:
        ModelError: the file is damaged, could run code, or holds no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds Python objects besides tensors, which could run code, or is no weights "
            "file; save torch.save(model.state_dict(), FILE) instead"
        ) from error
    except Exception as error:  # what a damaged file raises is not documented
        raise ModelError(
            f"{path} is truncated or not a PyTorch file ({brief(error)}); fetch it again"
        ) from error
    state = _state_dict(content)
    if state is None:
        raise ModelError(f"{path} holds no state dict; save torch.save(model.state_dict(), FILE)")
    return state


def _state_dict(content: Any) -> dict[str, Any] | None:
    """Return the state dict in a checkpoint: the whole, or what lies under a usual name."""
    if not isinstance(content, dict):
        return None
    if all(
        isinstance(key, str) and (isinstance(value, Tensor) or key.endswith(EXTRA_STATE))
        for key, value in content.items()
    ):
        return content
    return next(filter(None, (_state_dict(content.get(key)) for key in NESTED_STATE)), None)


def renamed(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys of a third-party checkpoint the names that the network has for them.

    Args:
        state: what :func:`read_checkpoint` found.
        wanted: the state dict of the network.
    """
    result = dict(state)
    own = {key.partition(".")[0] for key in wanted}
    while len(first := {key.partition(".")[0] for key in result}) == 1 and first != own:
        if not first & {*WRAPPERS}:
            break
        result = {key.partition(".")[2]: value for key, value in result.items()}
    for one, other in _WEIGHT_NORM:
        for old, new in ((one, other), (other, one)):
            for key in [key for key in result if key.endswith(old) and key not in wanted]:
                name = key.removesuffix(old) + new
                if name in wanted and name not in result:
                    result[name] = result.pop(key)
    return result
