"""Networks by name.

A builder is registered under the name that ``--model`` and the header of a weights file use. Each
network that a builder returns has ``name``, ``config`` (keyword arguments that build it again,
JSON-able), ``scale`` and ``bands``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from edgesr_export.registry import Registry
from torch import nn

from edgesr.errors import ModelError

Builder = Callable[..., nn.Module]


def register(name: str) -> Callable[[Builder], Builder]:
    """Register the decorated class or function as the builder of network ``name``.

    Raises:
        ExportError: the name is taken; the registry is left unchanged.
    """

    def remember(builder: Builder) -> Builder:
        NETWORKS.add(name, builder)
        return builder

    return remember


NETWORKS: Registry[Builder] = Registry(
    "network",
    "edgesr.models",
    "edgesr.networks",
    lambda name, builder: register(name)(builder),
    aliases={"fcnn3d": "3dfcnn"},
)
"""Builders by name: the modules of :mod:`edgesr.models`, and entry points of installed packages."""


def available() -> list[str]:
    """Names that :func:`create_model` knows, sorted."""
    return list(NETWORKS)


def is_own(model: nn.Module) -> bool:
    """Whether a registered builder made ``model``.

    Only then are its ``name``, ``config``, ``scale`` and ``bands`` what this module says: in a
    third-party network they may mean anything.
    """
    name = getattr(model, "name", None)
    if not isinstance(name, str) or name not in NETWORKS:
        return False
    return type(model).__module__ == NETWORKS[name].__module__


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
    if name not in NETWORKS:
        raise ModelError(f"unknown network {name!r}; choose one of {', '.join(available())}")
    builder = NETWORKS[name]
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
