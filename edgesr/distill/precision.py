"""The precision of a training's networks; losses and weights are always float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from edgesr.evaluation.evaluate import inference

Precision = Literal["off", "auto", "bf16", "fp16"]
PRECISIONS = get_args(Precision)

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CPUS = ("avx512_bf16", "amx_bf16", "bf16")  # x86 twice, ARM


def computes_bf16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for bfloat16; where it has none, it would be slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)  # older torch cannot say
    return any(capabilities().get(name) for name in _CPUS)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """What networks are called in: mixed precision, or none for "off"."""
    if precision == "off":
        return nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


def choose(
    precision: Precision,
    device: torch.device,
    networks: Sequence[nn.Module],
    example: Callable[[], Tensor],
) -> Literal["off", "bf16", "fp16"]:
    """The precision that is trained in.

    "auto" is "bf16" where the device computes in it and every network runs in it, to finite
    numbers; else "off".

    Args:
        precision: what was asked for; anything but "auto" is taken as it is.
        device: where the networks are.
        networks: all that a step calls.
        example: makes an input of theirs.
    """
    if precision != "auto":
        return precision
    return "bf16" if computes_bf16(device) and _run(networks, example(), device) else "off"


def _run(networks: Sequence[nn.Module], example: Tensor, device: torch.device) -> bool:
    try:
        for network in networks:
            with inference(network), autocast("bf16", device):
                if not network(example).isfinite().all():
                    return False
    except (RuntimeError, TypeError):  # an operation that has no bfloat16, or mixes no types
        return False
    return True
