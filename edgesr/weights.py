"""Weights in safetensors files whose header says which network they belong to.

The header key ``edgesr`` holds JSON: ``format``, ``model`` and ``config`` (arguments of
:func:`edgesr.models.create_model`), ``surgery`` (structural changes, in order), ``data`` (what the
network was trained on: bands, wavelengths, normalisation, degradation) and ``training``. A network
is rebuilt from its file alone, and no file is ever able to run code.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.files import atomic_path
from edgesr.models import available, create_model

FORMAT = 1
HEADER_KEY = "edgesr"
NESTED_STATE = ("state_dict", "model_state_dict", "params_ema", "params", "model")


@dataclass(frozen=True)
class Loaded:
    """A network in eval mode, float32, and the header of its file."""

    model: nn.Module
    metadata: dict[str, Any] = field(default_factory=dict)


def save_network(
    model: nn.Module,
    path: Path,
    *,
    data: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write the weights of ``model`` and all that rebuilds it to ``path``, atomically.

    Args:
        model: a registered network, or one that :func:`load_custom` built; with the structural
            changes since then in ``model.surgery``, if any.
        path: the file to write (or replace).
        data: JSON-able facts about the data that the network expects.
        training: JSON-able facts about its training.
        half: store floats in half precision, half the size; loading widens them again.

    Raises:
        ModelError: the network cannot be rebuilt from a file, its weights are not finite or, with
            ``half``, exceed 65504, or the file cannot be written.
    """
    path = Path(path)
    name, config = _identity(model)
    header = {
        "format": FORMAT,
        "model": name,
        "config": config,
        "surgery": list(getattr(model, "surgery", [])),
        "data": dict(data or {}),
        "training": dict(training or {}),
    }
    tensors = {key: _stored(key, value, half) for key, value in model.state_dict().items()}
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={HEADER_KEY: json.dumps(header)})
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot write weights to {path} ({_brief(error)}); choose a folder that exists and is "
            "writable"
        ) from error


def load_network(path: Path, factory: str | None = None) -> Loaded:
    """Rebuild the network that ``path`` describes and load its weights.

    Args:
        path: a file of :func:`save_network`.
        factory: ``package.module:function`` for a file that a network of :func:`load_custom` was
            saved to. The function named in the file is never imported of its own accord.

    Raises:
        ModelError: the file is missing, damaged, of another kind, or does not fit its own header.
    """
    path = Path(path)
    tensors, metadata = _read_safetensors(path)
    if HEADER_KEY not in metadata:
        raise ModelError(
            f"{path} does not say which network it belongs to (no {HEADER_KEY!r} header); load it "
            "with --model package.module:function --weights FILE"
        )
    header = _parse_header(metadata[HEADER_KEY], path)
    model = _build(header, path, factory)
    if header["surgery"]:
        from edgesr.surgery import apply_changes

        model = apply_changes(model, header["surgery"])
    _fill(model, tensors, path)
    model.surgery = header["surgery"]
    return Loaded(model.eval(), header)


def has_header(path: Path) -> bool:
    """Whether the file was written by :func:`save_network`, so that :func:`load_network` reads it.

    Raises:
        ModelError: the file is missing, or a damaged safetensors file.
    """
    return _is_safetensors(path) and HEADER_KEY in _read_safetensors(path)[1]


def load_custom(factory: str, weights: Path | None = None) -> nn.Module:
    """Build any network by calling ``package.module:function`` without arguments.

    Args:
        factory: dotted module and function, looked up on the Python path and in the current folder.
        weights: its state dict as a safetensors or a PyTorch file, the latter read with
            ``weights_only=True``. A dict around it (``state_dict``, ``params_ema``, ...) and the
            prefix ``module.`` of data-parallel training are taken off.

    Returns:
        The network in eval mode on the CPU, with ``factory`` as attribute ``factory``.

    Raises:
        ModelError: the function cannot be found or fails, or the weights do not fit.
    """
    model = _call_factory(factory)
    if weights is not None:
        path = Path(weights)
        tensors = _read_safetensors(path)[0] if _is_safetensors(path) else _read_torch(path)
        _fill(model, tensors, path)
    return model.eval()


def _identity(model: nn.Module) -> tuple[str, dict[str, Any]]:
    name, config = getattr(model, "name", None), getattr(model, "config", None)
    if name in available() and isinstance(config, dict):
        return str(name), config
    factory = getattr(model, "factory", None)
    if isinstance(factory, str):
        return factory, {}
    raise ModelError(
        f"a {type(model).__name__} cannot be rebuilt from a file; build it with create_model or "
        "load_custom before saving it"
    )


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    if value.is_floating_point():
        value = value.half() if half else value.float()
        if not torch.isfinite(value).all():
            advice = "exceeds half precision; save without half" if half else "is not finite"
            raise ModelError(f"weight {key} cannot be stored: it {advice}")
    return value.clone(memory_format=torch.contiguous_format)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    pickle_start = _first_bytes(path).startswith((b"PK", b"\x80"))
    if pickle_start and not _is_safetensors(path):  # a header may be 0x80 bytes long as well
        raise ModelError(
            f"{path} is a PyTorch (pickle) file, not safetensors; load it with "
            "--model package.module:function --weights FILE"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is truncated or not a safetensors file ({_brief(error)}); fetch it again"
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds Python objects besides tensors, which could run code, or is no weights "
            "file; save torch.save(model.state_dict(), FILE) instead"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path} is truncated or not a PyTorch file ({_brief(error)}); fetch it again"
        ) from error
    for key in NESTED_STATE:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path} holds no state dict; save torch.save(model.state_dict(), FILE)")
    if content and all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return content


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(9)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except OSError as error:
        raise ModelError(f"cannot read weights file {path} ({_brief(error)})") from error


def _is_safetensors(path: Path) -> bool:
    """Eight bytes of header length, then JSON; a truncated PyTorch file never looks like it."""
    return _first_bytes(path)[8:9] == b"{"


def _parse_header(text: str, path: Path) -> dict[str, Any]:
    kinds = {"model": str, "config": dict, "surgery": list, "data": dict, "training": dict}
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path} has a damaged header ({_brief(error)}); fetch it again"
        ) from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise ModelError(f"{path} has a header without a format number; use another file")
    if header["format"] > FORMAT:
        raise ModelError(
            f"{path} has format {header['format']}, this version reads up to {FORMAT}; "
            "update edgesr"
        )
    for key, kind in kinds.items():
        if not isinstance(header.setdefault(key, kind()), kind):
            raise ModelError(f"{path} has a header whose {key!r} is damaged; use another file")
    if not all(isinstance(change, dict) for change in header["surgery"]):
        raise ModelError(f"{path} has a header whose 'surgery' is damaged; use another file")
    return header


def _build(header: dict[str, Any], path: Path, factory: str | None) -> nn.Module:
    name = header["model"]
    if ":" in name:
        if factory is None:
            raise ModelError(
                f"{path} holds a network built by {name}; confirm with --model {name} that this "
                "code may run"
            )
        return _call_factory(factory)
    if name not in available():
        raise ModelError(
            f"{path} holds a network {name!r} that this version does not know "
            f"(it knows {', '.join(available())}); update edgesr or use another file"
        )
    try:
        return create_model(name, **header["config"])
    except ModelError as error:
        raise ModelError(f"{path} has a header that no network fits: {error}") from error


def _call_factory(factory: str) -> nn.Module:
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise ModelError(f"got network {factory!r}; write it as package.module:function")
    with _current_folder_importable():
        try:
            builder = getattr(importlib.import_module(module_name), function_name)
        except AttributeError as error:
            raise ModelError(f"{module_name} has no function {function_name!r}") from error
        except Exception as error:  # a user's module may raise anything when it is imported
            raise ModelError(
                f"cannot import {module_name} ({_brief(error)}); run from the folder that holds it "
                "or install it"
            ) from error
        try:
            model = builder()
        except Exception as error:  # so may the function
            raise ModelError(
                f"{factory} failed ({_brief(error)}); it must build the network without arguments"
            ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{factory} returned a {type(model).__name__}; it must return a torch.nn.Module"
        )
    model.factory = factory  # type: ignore[assignment]
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


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load ``tensors`` into ``model``; all keys and shapes must agree."""
    wanted = model.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    reshaped = [
        f"{key} is {list(tensors[key].shape)} instead of {list(value.shape)}"
        for key, value in wanted.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    faults = [
        f"{len(found)} {what} ({', '.join(found[:2])}{', ...' if len(found) > 2 else ''})"
        for found, what in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (reshaped, "of another shape"),
        )
        if found
    ]
    if faults:
        raise ModelError(
            f"{path} does not fit the network {type(model).__name__}: {'; '.join(faults)}; "
            "use the weights of this very network"
        )
    model.load_state_dict(dict(tensors))


def _brief(error: BaseException) -> str:
    """The first line of an error, with its type where that says more."""
    lines = str(error).splitlines()
    text = lines[0].strip().rstrip(".") if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
