"""Networks that a function of the user's builds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from edgesr.errors import ModelError, brief

_RECORD = "edgesr_factory"  # an attribute that no third-party class has
_SINGLE = {
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float64), torch.float32),
    **dict.fromkeys((torch.complex32, torch.complex128), torch.complex64),
}


def factory_of(model: nn.Module) -> str | None:
    """Return what :func:`build` made a network with, None for any other."""
    factory = vars(model).get(_RECORD)
    return factory if isinstance(factory, str) else None


def build(factory: str) -> nn.Module:
    """Call ``package.module:function`` without arguments.

    Args:
        factory: looked up on the Python path and in the current folder.

    Returns:
        The network, all its floating-point numbers in single precision; it remembers ``factory``.

    Raises:
        ModelError: the function cannot be found, fails, or returns something else.
    """
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise ModelError(f"got network {factory!r}; write it as package.module:function")
    if module_name.endswith(".py") or {"/", "\\"} & {*module_name}:
        raise ModelError(
            f"got network {factory!r}, whose first part is a file; name the module as import does,"
            " package.module:function"
        )
    with _current_folder_importable():
        try:
            builder = getattr(importlib.import_module(module_name), function_name)
        except AttributeError as error:
            raise ModelError(f"{module_name} has no function {function_name!r}") from error
        except (Exception, SystemExit) as error:  # a user's module may raise anything on import
            raise ModelError(
                f"cannot import {module_name} ({brief(error)}); run from the folder that holds it "
                "or install it"
            ) from error
        try:
            model = builder()
        except (Exception, SystemExit) as error:  # so may the function
            raise ModelError(
                f"{factory} failed ({brief(error)}); it must build the network without arguments"
            ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{factory} returned a {type(model).__name__}; it must return a torch.nn.Module"
        )
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):  # of torch.compile
        raise ModelError(
            f"{factory} returned a {type(model).__name__}, whose layers cannot be replaced; let it"
            " return the network as it was before that"
        )
    if any(value.is_meta for value in (*model.parameters(), *model.buffers())):
        raise ModelError(f"{factory} returned a network without weights, on the meta device")
    vars(model)[_RECORD] = factory
    if any(value.dtype in _SINGLE for value in (*model.parameters(), *model.buffers())):
        model._apply(lambda value: value.to(_SINGLE.get(value.dtype, value.dtype)))
    return model


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
