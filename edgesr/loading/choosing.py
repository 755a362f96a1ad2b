"""Which of the state dicts in a file is a network's, and what of it the network rebuilds itself.

A file may hold several (a generator, a discriminator, averages), each under prefixes of its own
(``module.``, ``model.``) and beside entries of others (a loss, counters). The one is taken that
fits: every key and every shape of it. Nothing is taken by its name alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.errors import ModelError, shown
from edgesr.loading.checkpoint import EXTRA_STATE, State
from edgesr.progress import log

PREFERRED = ("state_dict", "model_state_dict", "params", "model", "netG", "generator", "net")
"""Of several that fit equally well the first; averages come before what they are averages of."""

REBUILT = (
    *("attn_mask", "relative_position_index", "relative_coords_table", "position_ids"),
    *("num_batches_tracked", "total_ops", "total_params", "n_averaged"),
)
"""Last parts of keys whose numbers follow from the network, or only count something."""

_WRAPPERS = {"module", "_orig_mod"}
"""What data-parallel training and compilation put into keys, anywhere."""

_STATISTICS = ("running_mean", "running_var")
_AVERAGE = re.compile(r"(^|[._])ema($|[._])")
_WEIGHT_NORM = re.compile(r"parametrizations\.weight\.original([01])$")
_MOST = 8  # prefixes of a state dict that are tried


@dataclass(frozen=True)
class Fit:
    """A part of a file, held against a network.

    Attributes:
        key: where it lies, such as ``state_dict.model``; empty for the whole file.
        state: its values that fit, under the network's own keys.
        missing: keys that the network needs and the part has not.
        unexpected: keys that the part has and the network has not.
        reshaped: keys of another shape, and both shapes.
        dropped: keys whose numbers the network makes itself.
        beside: keys of the same state dict that are none of the part.
    """

    key: str
    state: State
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    dropped: list[str]
    beside: list[str]

    @property
    def fits(self) -> bool:
        """Whether every key and shape agrees."""
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def closeness(self) -> int:
        """Keys that agree, less those that do not."""
        return len(self.state) - len(self.unexpected) - len(self.reshaped)

    @property
    def rank(self) -> tuple[int, int]:
        """Which of several that fit is taken: the least."""
        if _AVERAGE.search(self.key):
            return 0, len(self.beside)
        named = [PREFERRED.index(part) for part in self.key.split(".") if part in PREFERRED]
        return 1 + min(named, default=len(PREFERRED)), len(self.beside)

    def faults(self) -> str:
        """What does not agree, in words."""
        return "; ".join(
            f"{len(found)} {what} ({_listed(found)})"
            for found, what in (
                (self.missing, "missing"),
                (self.unexpected, "unexpected"),
                (self.reshaped, "of another shape"),
            )
            if found
        )

    def describe(self, others: Sequence[Fit]) -> str:
        """What was taken and left, in words; empty for a file of this network's weights alone."""
        parts = [
            f"left out {len(found)} {what} ({_listed(found)})"
            for found, what in (
                (self.dropped, "that the network makes itself"),
                (self.beside, "of something else"),
            )
            if found
        ]
        if others:
            names = _listed([other.key or "the whole file" for other in others], 8)
            parts.append(f"{names} would fit as well: --checkpoint-key")
        if not parts:
            return ""
        return "; ".join((f"took {shown(self.key)}" if self.key else "took all of it", *parts))


def choose(found: Mapping[str, State], model: nn.Module, path: Path, key: str | None = None) -> Fit:
    """Take the state dict of a file that fits a network; say what was left out.

    Args:
        found: see :func:`edgesr.loading.checkpoint.read_checkpoint`.
        model: the network.
        path: of the file, for messages.
        key: take the one that lies here.

    Raises:
        ModelError: nothing in the file fits, or several do and none is preferred.
    """
    fits = [fit for place, state in found.items() for fit in _parts(place, state, model)]
    places = _listed([place or "the whole file" for place in found], 8)
    if key is not None:
        fits = [fit for fit in fits if fit.key == key or fit.key.startswith(f"{key}.")]
        if not fits:
            raise ModelError(
                f"{path} holds nothing for the network under {shown(key)}; what --checkpoint-key"
                f" may name: {places}"
            )
    best, *others = sorted(
        [fit for fit in fits if fit.fits] or fits,
        key=lambda fit: fit.rank if fit.fits else (-fit.closeness, 0),
    )
    if not best.fits:
        where = shown(best.key or "the whole file")
        where = f" in {where}, of {places}" if list(found) != [best.key] else ""
        raise ModelError(
            f"{path} does not fit the network {type(model).__name__}: {best.faults()}{where};"
            " use the weights of this very network"
        )
    rivals = [other for other in others if other.rank == best.rank]
    if any(not _same(best.state, rival.state) for rival in rivals):
        names = _listed([fit.key or "the whole file" for fit in (best, *rivals)], 8)
        raise ModelError(
            f"{path} holds several weights that fit the network: {names}; choose one by"
            " --checkpoint-key"
        )
    if told := best.describe(others):
        log(f"{path.name}: {told}")
    return best


def _parts(place: str, state: State, model: nn.Module) -> Iterator[Fit]:
    """The state dict as a whole, and what lies under the prefixes that the network's keys have."""
    wanted = {short: key for key, short in _short(model.state_dict()).items()}
    short = _short(state)
    counts: Counter[str] = Counter()
    for key in short.values():
        parts = key.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in wanted:
                counts[".".join(parts[:start])] += 1
    for prefix in ("", *(prefix for prefix, _ in counts.most_common(_MOST))):
        before = f"{prefix}." if prefix else ""
        inside = {
            name.removeprefix(before): state[key]
            for key, name in short.items()
            if name.startswith(before)
        }
        beside = [key for key, name in short.items() if not name.startswith(before)]
        where = ".".join(part for part in (place, prefix) if part)
        yield _held_against(model, wanted, inside, where, beside)


def _held_against(
    model: nn.Module, wanted: Mapping[str, str], inside: State, key: str, beside: list[str]
) -> Fit:
    """Compare values, by their short keys, with what a network needs."""
    own = model.state_dict()
    buffers = {name for module, m in model.named_modules() for name in _within(module, m._buffers)}
    state: State = {}
    unexpected: list[str] = []
    reshaped: list[str] = []
    dropped: list[str] = []
    resized: list[str] = []
    for name, value in inside.items():
        full = wanted.get(name)
        if full is None:
            known = name in buffers or name.rpartition(".")[2] in REBUILT
            (dropped if known else unexpected).append(name)
        elif shape_of(value) == shape_of(own[full]):
            state[full] = value
        else:
            follows = full in buffers and _makes_itself(full, own[full])
            told = f"{full} is {shape_of(value)} instead of {shape_of(own[full])}"
            (resized if follows else reshaped).append(full if follows else told)
    settled = {*state, *resized, *(told.partition(" is ")[0] for told in reshaped)}
    missing = sorted(
        full
        for full in own
        if full not in settled
        and not full.endswith(EXTRA_STATE)  # files of tensors alone cannot hold it
        and not (full in buffers and full.rpartition(".")[2] in REBUILT)
    )
    return Fit(key, state, missing, unexpected, reshaped, dropped + resized, beside)


def _within(module: str, names: Iterable[str]) -> Iterator[str]:
    return (f"{module}.{name}" if module else name for name in names)


def _makes_itself(key: str, value: Any) -> bool:
    """Whether a buffer was computed when the network was built, such as a mask of its image size.

    What is constant waits for numbers from training.
    """
    name = key.rpartition(".")[2]
    if name in REBUILT:
        return True
    computed = (
        isinstance(value, Tensor)
        and value.numel() > 1
        and bool((value != value.flatten()[0]).any())
    )
    return computed and name not in _STATISTICS


def shape_of(value: Any) -> list[int] | str:
    """The shape of a tensor; of other state its type."""
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _short(keys: Iterable[str]) -> dict[str, str]:
    """Keys without what wrappers put into them, and with one name for weight normalisation."""
    found = {
        key: _WEIGHT_NORM.sub(
            lambda match: f"weight_{'gv'[int(match[1])]}",
            ".".join(part for part in key.split(".") if part not in _WRAPPERS) or key,
        )
        for key in keys
    }
    return found if len({*found.values()}) == len(found) else {key: key for key in found}


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        isinstance(value, Tensor) and torch.equal(value, other[key]) for key, value in one.items()
    )


def _listed(keys: Sequence[str], most: int = 2) -> str:
    return ", ".join(map(shown, keys[:most])) + ", ..." * (len(keys) > most)
