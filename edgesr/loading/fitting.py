"""Whether a network fits a scene: how it is called, what it gives, and that it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgesr.errors import ModelError, brief
from edgesr.loading.infer_signature import find_call
from edgesr.loading.signature import adapt, call_of
from edgesr.models import is_own
from edgesr.progress import log
from edgesr.surgery.structure import clone


def scale_of(model: nn.Module) -> int | Callable[[Tensor], int]:
    """Return a network's magnification; of a third-party one, a function of an LR tile."""
    if is_own(model):
        return int(model.scale)  # type: ignore[arg-type]
    call = call_of(model)
    return call.scale if call else lambda example: find_call(model, example)[1]


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
    """Refuse a third-party network that cannot be trained; a copy of it makes one step.

    Where activations that work in place write over what the backward pass needs, they are made to
    work out of place, in ``model`` itself, as far as its answers stay the same to the last bit.

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
    reason = _reason_not_to_train(model, example, expected)
    if reason is not None and (changed := out_of_place(model, example)):
        reason = _reason_not_to_train(model, example, expected)
        if reason is None:
            log(f"{changed} activations work out of place, so that gradients pass")
    if reason is not None:
        raise ModelError(reason)


def _reason_not_to_train(model: nn.Module, example: Tensor, expected: torch.Size) -> str | None:
    """Why a copy of a network cannot make one step; None where it can."""
    trained = clone(model).train().requires_grad_()
    try:
        output = trained(torch.cat([example, example.flip(-1)]))
    except Exception as error:  # a third-party code may raise anything
        return f"the network does not run in training mode ({brief(error)})"
    if not isinstance(output, Tensor) or output.shape[1:] != expected:
        shape = [1, *output.shape[1:]] if isinstance(output, Tensor) else type(output).__name__
        return (
            f"in training mode the network gives {shape}, not {[1, *expected]}; let it return the"
            " image alone, as in evaluation"
        )
    if not output.requires_grad:
        return (
            "no gradient passes the network, so it cannot be trained; take no_grad,"
            " inference_mode and detach out of its forward"
        )
    try:
        output.square().mean().backward()
    except Exception as error:  # likewise
        return (
            f"no gradient passes the network ({brief(error)}); write what works in place out of"
            " place, such as x = x + y for x += y, and F.relu(x) for F.relu_(x)"
        )
    return None


def out_of_place(model: nn.Module, example: Tensor) -> int:
    """Let layers that write into their input make a new tensor instead; return how many do now.

    All of them together where no answer changes, in evaluation or in training; else one by one,
    and a layer whose writing is part of what the network does goes on with it.
    """
    layers = [layer for layer in model.modules() if getattr(layer, "inplace", None) is True]
    if not layers:
        return 0
    expected = _answers(model, example)

    def changed(some: Sequence[nn.Module]) -> bool:
        """Change some; undone where an answer is another one."""
        for layer in some:
            vars(layer)["inplace"] = False
        same = expected is not None and _equal(_answers(model, example), expected)
        for layer in () if same else some:
            vars(layer)["inplace"] = True
        return same

    if changed(layers):
        return len(layers)
    return sum(changed([layer]) for layer in layers)


@torch.no_grad()
def _answers(model: nn.Module, example: Tensor) -> list[Tensor] | None:
    """What a copy gives in evaluation and in training, with the same random numbers each time.

    None where it fails.
    """
    copy = clone(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            found = copy.eval()(example), copy.train()(torch.cat([example, example.flip(-1)]))
        except Exception:  # a third-party code may raise anything
            return None
    return [value for value in tree_leaves(found) if isinstance(value, Tensor)]


def _equal(answers: list[Tensor] | None, expected: list[Tensor]) -> bool:
    return answers is not None and all(map(torch.equal, answers, expected))
