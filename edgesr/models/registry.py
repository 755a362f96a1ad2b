"""Networks by name.

A builder is registered under the name that ``--model`` and the header of a weights file use. Each
network that a builder returns has ``name``, ``config`` (keyword arguments that build it again,
JSON-able), ``scale`` and ``bands``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from edgesr.errors import ModelError

Builder = Callable[..., nn.Module]
_builders: dict[str, Builder] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Register the decorated class or function as the builder of network ``name``.

    Raises:
        ModelError: the name is taken; the registry is left unchanged.
    """

    def remember(builder: Builder) -> Builder:
        if name in _builders:
            raise ModelError(f"a network named {name!r} is registered already; choose another name")
        _builders[name] = builder
        return builder

    return remember


def available() -> list[str]:
    """Names that :func:`create_model` knows, sorted."""
    return sorted(_builders)


def is_own(model: nn.Module) -> bool:
    """Whether a registered builder made ``model``.

    Only then are its ``name``, ``config``, ``scale`` and ``bands`` what this module says: in a
    third-party network they may mean anything.
    """
    rooms = {builder.__module__ for builder in _builders.values()}
    return type(model).__module__ in rooms and getattr(model, "name", None) in _builders


def create_model(name: str, **config: Any) -> nn.Module:
    """Build the network ``name`` with fresh weights.

    Args:
        name: one of :func:`available`.
        config: keyword arguments of that network, for instance ``bands`` and ``scale``.

    Raises:
        ModelError: unknown name or argument, missing argument, or values that no network of this
            kind can have; the message lists what is valid.

    Example:
        >>> create_model("lkca_net", bands=48, scale=4, blocks=2).bands
        48
    """
    if name not in _builders:
        raise ModelError(f"unknown network {name!r}; choose one of {', '.join(available())}")
    builder = _builders[name]
    parameters = inspect.signature(builder).parameters
    unknown = sorted(set(config) - set(parameters))
    if unknown:
        raise ModelError(
            f"{name} has no option {', '.join(unknown)}; its options are {', '.join(parameters)}"
        )
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and key not in config
    ]
    if missing:
        raise ModelError(f"{name} needs {', '.join(missing)}; give a value for each")
    return builder(**config)
