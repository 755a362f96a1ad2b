"""State dicts in the files that people train with: what a file holds, without running its code."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from edgesr.errors import ModelError, brief

EXTRA_STATE = "_extra_state"
"""How torch.nn ends the key of what ``get_extra_state`` returned."""

DEEPEST = 4
"""Dictionaries in dictionaries that are still looked into."""

State = dict[str, Any]


class _Inert:
    """Takes the place of any object beside tensors; does nothing and keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return object.__new__(cls)

    def __setstate__(self, _: Any) -> None:
        """A file's word on what the object was."""


def _empty(*_: Any) -> dict[Any, Any]:
    return {}


_DICTIONARIES = ("collections.defaultdict",)


def read_checkpoint(path: Path) -> dict[str, State]:
    """Read the state dicts in a PyTorch file, which is never allowed to run code.

    Objects beside tensors, such as a trainer's settings, NumPy's numbers or paths, are passed over:
    no class or function that the file names is looked up.

    Returns:
        State dicts by where they lie, such as ``netG`` or ``model.state_dict``; the key of one that
        is the file itself is empty.

    Raises:
        ModelError: the file is damaged, would have to run code, or holds no state dict.
    """
    names: list[str] = []
    with suppress(Exception):  # whatever it is, reading says it
        names = get_unsafe_globals_in_checkpoint(path)
    stand_ins = [(_empty if name in _DICTIONARIES else _inert(), name) for name in names]
    try:
        with safe_globals(stand_ins):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _objects(path) from error
    except Exception as error:  # of a damaged file anything, such as AssertionError
        if isinstance(error, MemoryError):
            raise
        raise ModelError(
            f"{path} is truncated or not a PyTorch file ({brief(error)}); fetch it again"
        ) from error
    if isinstance(content, _Inert):
        raise _objects(path)
    found = dict(_state_dicts(content))
    if not found:
        raise ModelError(f"{path} holds no state dict; save torch.save(model.state_dict(), FILE)")
    return found


def _inert() -> type[_Inert]:
    """A class of its own for each name: torch knows them apart by it."""
    return type("Inert", (_Inert,), {})


def _objects(path: Path) -> ModelError:
    return ModelError(
        f"{path} holds Python objects besides tensors, which could run code, or is no weights "
        "file; save torch.save(model.state_dict(), FILE) instead"
    )


def _state_dicts(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Every dictionary that holds tensors by name, with where it lies."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    if any(isinstance(value, Tensor) for value in named.values()):
        yield (
            place,
            {
                key: value
                for key, value in named.items()
                if isinstance(value, Tensor) or key.endswith(EXTRA_STATE)
            },
        )
    for key, value in named.items():
        yield from _state_dicts(value, f"{place}.{key}" if place else key, depth + 1)
