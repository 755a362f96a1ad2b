"""Weights in safetensors files whose header says which network they belong to.

The header key ``edgesr`` holds JSON: ``format``, ``model`` and ``config`` (arguments of
:func:`edgesr.models.create_model`), ``surgery`` (structural changes, in order), ``data`` (what the
network was trained on: bands, wavelengths, normalisation, degradation), ``training`` and, for
networks of strangers, ``call`` (how they are called, see :mod:`edgesr.foreign.calls`), ``complex``
(keys whose last axis is real and imaginary part) and ``extra_state`` (state that is no tensor). A
network is rebuilt from its file alone, and no file is ever able to run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgesr.errors import ModelError, brief
from edgesr.files import atomic_path
from edgesr.foreign.calls import Call, adapt, call_of
from edgesr.foreign.checkpoint import EXTRA_STATE, read_checkpoint, renamed
from edgesr.foreign.factory import build, factory_of
from edgesr.models import available, create_model, is_own
from edgesr.surgery import apply_changes, changes_of

FORMAT = 1
HEADER_KEY = "edgesr"


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
            changes since then that :func:`edgesr.surgery.changes_of` lists, if any.
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
    header: dict[str, Any] = {
        "format": FORMAT,
        "model": name,
        "config": config,
        "surgery": changes_of(model),
        "data": dict(data or {}),
        "training": dict(training or {}),
        "call": call.to_dict() if (call := call_of(model)) else {},
    }
    tensors = {}
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            header.setdefault("extra_state", {})[key] = _json_able(key, value)
            continue
        if value.is_complex():
            header.setdefault("complex", []).append(key)
            value = torch.view_as_real(value.resolve_conj())
        tensors[key] = _stored(key, value, half)
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={HEADER_KEY: json.dumps(header)})
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot write weights to {path} ({brief(error)}); choose a folder that exists and is "
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
    model = apply_changes(model, header["surgery"])
    _fill(model, _decoded(tensors, header, path), path)
    if header["call"]:
        try:
            adapt(model, Call.from_dict(header["call"]))
        except ModelError as error:
            raise ModelError(f"{path} has a header whose 'call' is damaged: {error}") from error
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
            ``weights_only=True``. A dict around it (``state_dict``, ``params_ema``, ...) and
            prefixes of all keys (``module.``, ...) are taken off; weight normalisation may be
            written in either of PyTorch's two forms.

    Returns:
        The network in eval mode on the CPU, in float32; it remembers ``factory``.

    Raises:
        ModelError: the function cannot be found or fails, or the weights do not fit.
    """
    model = build(factory)
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            _json_able(key, value)  # before any work is done, not when its result is saved
    if weights is not None:
        path = Path(weights)
        tensors = _read_safetensors(path)[0] if _is_safetensors(path) else read_checkpoint(path)
        _fill(model, renamed(tensors, model.state_dict()), path)
    return model.eval()


def _identity(model: nn.Module) -> tuple[str, dict[str, Any]]:
    if is_own(model):
        return str(model.name), dict(model.config)  # type: ignore[arg-type]
    factory = factory_of(model)
    if factory is not None:
        return factory, {}
    raise ModelError(
        f"a {type(model).__name__} cannot be rebuilt from a file; build it with create_model or "
        "load_custom before saving it"
    )


def _json_able(key: str, value: Any) -> Any:
    try:
        same = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ModelError(
            f"the network's state {key} is a {type(value).__name__} that cannot be stored; let "
            "get_extra_state return a tensor, or lists and dictionaries of numbers and text"
        )
    return value


def _decoded(
    tensors: dict[str, Tensor], header: Mapping[str, Any], path: Path
) -> dict[str, Tensor | Any]:
    """Put the state dict together again that :func:`save_network` took apart."""
    try:
        joined = {key: torch.view_as_complex(tensors[key]) for key in header["complex"]}
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{path} has a header whose 'complex' is damaged; use another file"
        ) from error
    return {**tensors, **joined, **header["extra_state"]}


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
            f"{path} is truncated or not a safetensors file ({brief(error)}); fetch it again"
        ) from error


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(9)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except OSError as error:
        raise ModelError(f"cannot read weights file {path} ({brief(error)})") from error


def _is_safetensors(path: Path) -> bool:
    """Eight bytes of header length, then JSON; a truncated PyTorch file never looks like it."""
    return _first_bytes(path)[8:9] == b"{"


def _parse_header(text: str, path: Path) -> dict[str, Any]:
    kinds = {
        **{"model": str, "config": dict, "surgery": list, "data": dict, "training": dict},
        **{"call": dict, "complex": list, "extra_state": dict},
    }
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} has a damaged header ({brief(error)}); fetch it again") from error
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
        return build(factory)
    if name not in available():
        raise ModelError(
            f"{path} holds a network {name!r} that this version does not know "
            f"(it knows {', '.join(available())}); update edgesr or use another file"
        )
    try:
        return create_model(name, **header["config"])
    except ModelError as error:
        raise ModelError(f"{path} has a header that no network fits: {error}") from error


def _fill(model: nn.Module, tensors: Mapping[str, Any], path: Path) -> None:
    """Load ``tensors`` into ``model``; all keys and shapes must agree."""
    wanted = model.state_dict()
    for key in wanted.keys() - tensors.keys():
        if key.endswith(EXTRA_STATE):  # files of tensors alone cannot hold it: it stays
            tensors = {**tensors, key: wanted[key]}
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    reshaped = [
        f"{key} is {list(tensors[key].shape)} instead of {list(value.shape)}"
        for key, value in wanted.items()
        if isinstance(value, Tensor) and key in tensors and tensors[key].shape != value.shape
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
