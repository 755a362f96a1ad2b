"""Remove whole blocks of a network, least missed first.

Deep super-resolution networks repeat one block many times, each adding a little to what passes
through. A removed block passes its input on. Which ones go is measured, not guessed: at each step
the block whose absence changes least, given those that are already gone.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.errors import OptionError
from edgesr.surgery.passes._base import BlockPass, Effect
from edgesr.surgery.registry import register
from edgesr.surgery.sites import evaluating, find_sites
from edgesr.surgery.structure import Change, Factorised, apply_changes, clone, lies_in, swap

_BATCH = 16
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, Factorised)
_MISFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


class Skip(nn.Module):
    """What is left of a removed block: passes its first argument on."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``x`` [*] -> the same."""
        return x


@torch.no_grad()
def find_blocks(model: nn.Module, example: Tensor) -> list[str]:
    """Module paths of the blocks that can be removed, in the order of the network's modules.

    Blocks are modules with layers inside that share parent and class with at least one other, are
    called once, return one tensor of the shape and type of their first argument, and hold no
    upsampler. Where groups consist of blocks, both are offered. A kind of block whose absence
    breaks the network (because something reads its attributes, say) is not.

    Args:
        example: network input [N, B, h, w]; the model runs on it once, and a copy once for each
            kind of block.

    Raises:
        ModelError: the network does not accept the example.
    """
    calls: dict[str, list[bool]] = defaultdict(list)
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if path and _is_composed(module):
                stack.callback(module.register_forward_hook(_keeps(calls[path])).remove)
        upsamplers = [layer for site in find_sites(model, example) for layer in site.layers]
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, keeps in calls.items():
        if keeps == [True] and not any(lies_in(layer, path) for layer in upsamplers):
            families[_parent(path), _class(model.get_submodule(path))].append(path)
    trial = clone(model)
    offered = {
        path
        for family in families.values()
        if len(family) > 1 and _runs_without(trial, family[-1], example)
        for path in family
    }
    return [path for path in calls if path in offered]


def _is_composed(module: nn.Module) -> bool:
    if isinstance(module, _LAYERS) or next(module.children(), None) is None:
        return False
    return next(module.parameters(), None) is not None


def _class(module: nn.Module) -> str:
    """The class; of a Sequential, which says nothing by itself, those of its parts as well."""
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    if type(module) is not nn.Sequential:
        return name
    return f"{name}({', '.join(_class(part) for part in module)})"


def _keeps(seen: list[bool]) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    """A hook that notes of every call whether the shape and the type stay."""

    def observe(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        tensors = args and isinstance(args[0], Tensor) and isinstance(output, Tensor)
        seen.append(bool(tensors) and _kind(args[0]) == _kind(output))

    return observe


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _runs_without(model: nn.Module, path: str, example: Tensor) -> bool:
    try:
        with evaluating(model), _without(model, path):
            model(example)
    except _MISFIT:
        return False
    return True


@contextmanager
def _without(model: nn.Module, path: str) -> Iterator[None]:
    """Let the block at ``path`` be skipped within the context."""
    block, skip = model.get_submodule(path), Skip()
    swap(model, block, skip)
    try:
        yield
    finally:
        swap(model, skip, block)


def remove(model: nn.Module, paths: Sequence[str]) -> tuple[nn.Module, Change]:
    """A copy of ``model`` without the blocks at ``paths``, and the change that was made.

    A block inside another of them goes with it. Raises :class:`OptionError` for no path, and for
    one that is not in the network.
    """
    modules = {path for path, _ in model.named_modules() if path}
    unknown = [path for path in paths if path not in modules]
    if unknown or not paths:
        raise OptionError(
            f"cannot remove {unknown[0] if unknown else 'nothing'!r} from a "
            f"{type(model).__name__}: give module paths of find_blocks"
        )
    outermost = [
        path
        for path in dict.fromkeys(paths)
        if not any(other != path and lies_in(path, other) for other in paths)
    ]
    change: Change = {"pass": Remove.name, "site": "+".join(outermost), "layers": outermost}
    return apply_changes(clone(model), [change]), change


@register
class Remove(BlockPass):
    """The pass of this file."""

    name, title, setting, order = "remove", "blocks out", "removed", 40

    @classmethod
    def label(cls, setting: int) -> str:
        return f"{setting} block{'s' * (setting > 1)} out"

    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        return [Skip() for _ in layers]

    def find(self, model: nn.Module, example: Tensor) -> list[str]:
        return find_blocks(model, example)

    def rank(
        self, model: nn.Module, blocks: Sequence[str], effect: Effect
    ) -> list[tuple[str, float]]:
        return rank_blocks(model, blocks, effect)

    def apply(self, model: nn.Module, paths: Sequence[str]) -> tuple[nn.Module, Change]:
        return remove(model, paths)


@torch.no_grad()
def rank_blocks(
    model: nn.Module,
    blocks: Sequence[str],
    effect: Effect,
    known: Sequence[tuple[str, float]] = (),
    progress: Callable[[str, float], None] | None = None,
) -> list[tuple[str, float]]:
    """Blocks in the order in which they are best removed, each with the effect once it is gone.

    Greedy: each step tries every block that is left, and removes the one without which ``effect``
    is least, until every parent of blocks has one left. The first n entries are what to give to
    :func:`remove` to lose n blocks; a whole group may follow blocks of its own.

    Args:
        blocks: module paths, as :func:`find_blocks` lists them. n blocks take up to n*n/2 calls.
        effect: of a network in evaluation mode, such as :func:`distance_to` returns. One that is
            not finite counts as infinite.
        known: the first entries of an earlier, interrupted call with the same arguments.
        progress: called with each further entry.
    """
    student = clone(model)
    ranking = list(known)
    for path, _ in ranking:
        swap(student, student.get_submodule(path), Skip())
    with evaluating(student):
        while candidates := _removable(blocks, [path for path, _ in ranking]):
            measured = []
            for path in candidates:
                with _without(student, path):
                    value = float(effect(student))
                measured.append((path, value if math.isfinite(value) else math.inf))
            path, value = min(measured, key=lambda entry: entry[1])
            swap(student, student.get_submodule(path), Skip())
            ranking.append((path, value))
            if progress is not None:
                progress(path, value)
    return ranking


def _removable(blocks: Sequence[str], gone: Sequence[str]) -> list[str]:
    left = [block for block in blocks if not any(lies_in(block, other) for other in gone)]
    siblings = Counter(map(_parent, left))
    return [block for block in left if siblings[_parent(block)] > 1]


@torch.no_grad()
def distance_to(teacher: nn.Module, tiles: Tensor | Sequence[Tensor]) -> Effect:
    """An effect: mean squared distance of a network's output from the teacher's on ``tiles``.

    It needs no ground truth, and so cannot favour a network that happens to suit a few tiles.

    Args:
        teacher: run once on every tile, in evaluation mode.
        tiles: LR inputs [N, B, h, w], or a sequence of [B, h, w] or [N, B, h, w].
    """
    batches = tiles.split(_BATCH) if isinstance(tiles, Tensor) else list(tiles)
    batches = [tile if tile.ndim > 3 else tile[None] for tile in batches]
    with evaluating(teacher):
        targets = [_first(teacher(batch)) for batch in batches]

    @torch.no_grad()
    def distance(model: nn.Module) -> float:
        total = 0.0
        with evaluating(model):
            for batch, target in zip(batches, targets, strict=True):
                total += float((_first(model(batch)) - target).double().square().sum())
        return total / sum(target.numel() for target in targets)

    return distance


def _first(output: Tensor | Sequence[Tensor]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
