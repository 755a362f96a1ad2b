"""Weights in safetensors files whose header says which network they belong to.

The header key ``edgesr`` holds JSON: ``format``, ``model`` and ``config`` (arguments of
:func:`edgesr.models.create_model`), ``surgery`` (structural changes, in order), ``data`` (what the
network was trained on: bands, wavelengths, normalisation, degradation), ``training`` and, for
third-party networks, ``call`` (how they are called, see :mod:`edgesr.loading.signature`),
``complex`` (keys whose last axis is real and imaginary part) and ``extra_state`` (state that is no
tensor). A network is rebuilt from its file alone, and no file is ever able to run code; what a
header may say is in ``header.schema.json``, and is checked before anything is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgesr.errors import ModelError, brief, shown
from edgesr.files import atomic_path
from edgesr.loading.checkpoint import EXTRA_STATE, read_checkpoint
from edgesr.loading.choosing import choose, shape_of
from edgesr.loading.factory import build, factory_of
from edgesr.loading.header import FORMAT, parse_header
from edgesr.loading.signature import Call, adapt, call_of
from edgesr.models import available, create_model, is_own
from edgesr.stored import parse_json, require_file
from edgesr.surgery import apply_changes, changes_of
from edgesr.surgery.structure import skeleton

HEADER_KEY = "edgesr"
_NO_COPY = (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What a third-party network raises that cannot be copied, or not without its numbers."""


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
    buffers = dict(model.named_buffers())
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            header.setdefault("extra_state", {})[key] = _json_able(key, value)
            continue
        if value.is_complex():
            header.setdefault("complex", []).append(key)
            value = torch.view_as_real(value.resolve_conj())
        tensors[key] = _stored(key, value, half, key in buffers)
    try:
        with atomic_path(path) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode  # of any new file; safetensors keeps its own private
            save_file(tensors, temporary, metadata={HEADER_KEY: json.dumps(header)})
            temporary.chmod(mode)
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
    tensors, header = _read(path)
    state = _decoded(tensors, header, path)
    model = _build(header, state, path, factory)
    _fill(model, state, path)
    if header["call"]:
        try:
            adapt(model, Call.from_dict(header["call"]))
        except ModelError as error:
            raise ModelError(f"{path} has a header whose 'call' is damaged: {error}") from error
    return Loaded(model.eval(), header)


def read_header(path: Path) -> dict[str, Any]:
    """What a file of :func:`save_network` says of itself; see :mod:`edgesr.loading.header`.

    Raises:
        ModelError: the file is missing, damaged, or of another kind.
    """
    return _read(path)[1]


def has_header(path: Path) -> bool:
    """Whether the file was written by :func:`save_network`, so that :func:`load_network` reads it.

    Raises:
        ModelError: the file is missing, or a damaged safetensors file.
    """
    return _is_safetensors(path) and HEADER_KEY in _read_safetensors(path)[1]


def load_custom(factory: str, weights: Path | None = None, key: str | None = None) -> nn.Module:
    """Build any network by calling ``package.module:function`` without arguments.

    Args:
        factory: dotted module and function, looked up on the Python path and in the current folder.
        weights: its state dict as a safetensors or a PyTorch file, the latter read with
            ``weights_only=True``. Of several state dicts in it the one is taken that fits, see
            :mod:`edgesr.loading.choosing`.
        key: where in the file the state dict lies; None finds it.

    Returns:
        The network in eval mode on the CPU, in float32; it remembers ``factory``.

    Raises:
        ModelError: the function cannot be found or fails, or the weights do not fit.
    """
    model = build(factory)
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            _json_able(name, value)  # before any work is done, not when its result is saved
    if weights is not None:
        path = Path(weights)
        plain = _is_safetensors(path)
        found = {"": _read_safetensors(path)[0]} if plain else read_checkpoint(path)
        _load(model, choose(found, model, path, key).state, path)
    _require_finite(model, factory if weights is None else str(weights))
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
        same = parse_json(json.dumps(value)) == value
    except (TypeError, ValueError, RecursionError):
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


def _stored(key: str, value: Tensor, half: bool, buffer: bool) -> Tensor:
    value = value.detach().cpu()
    if value.is_floating_point():
        infinite = value.isinf()
        value = value.half() if half else value.float()
        if not _usable(value, buffer) or not torch.equal(value.isinf(), infinite):
            advice = "exceeds half precision; save without half" if half else "is not finite"
            raise ModelError(f"weight {key} cannot be stored: it {advice}")
    return value.clone(memory_format=torch.contiguous_format)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header."""
    tensors, metadata = _read_safetensors(path)
    if HEADER_KEY not in metadata:
        raise ModelError(
            f"{path} does not say which network it belongs to (no {HEADER_KEY!r} header); load it "
            "with --model package.module:function --weights FILE"
        )
    return tensors, parse_header(metadata[HEADER_KEY], path, tensors)


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


_NOT_OF_TORCH = {".onnx": "an ONNX file", ".engine": "a TensorRT engine"}


def _first_bytes(path: Path) -> bytes:
    try:
        require_file(path)
        if path.suffix in _NOT_OF_TORCH:
            raise ModelError(
                f"{path} is {_NOT_OF_TORCH[path.suffix]}, and the network's PyTorch weights are "
                "needed; pass those, such as the student.safetensors of the same run"
            )
        with path.open("rb") as file:
            return file.read(9)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot read weights file {shown(path)}: {reason}") from error


def _is_safetensors(path: Path) -> bool:
    """Eight bytes of header length, then JSON; a truncated PyTorch file never looks like it."""
    return _first_bytes(path)[8:9] == b"{"


def _build(
    header: Mapping[str, Any], state: Mapping[str, Any], path: Path, factory: str | None
) -> nn.Module:
    """The network with its surgery. It is tried without memory first, and has to fit the file."""
    changes = header["surgery"]
    if ":" not in header["model"]:
        with torch.device("meta"):
            bare = _own(header, path)
        _require_fit(apply_changes(bare, changes), state, path)
        return apply_changes(_own(header, path), changes)
    if factory is None:
        name = shown(header["model"])
        raise ModelError(
            f"{path} holds a network built by {name}; confirm with --model {name} that this "
            "code may run"
        )
    model = build(factory)
    with suppress(*_NO_COPY):
        _require_fit(apply_changes(skeleton(model), changes), state, path)
    return apply_changes(model, changes)


def _own(header: Mapping[str, Any], path: Path) -> nn.Module:
    name = header["model"]
    if name not in available():
        raise ModelError(
            f"{path} holds a network {name!r} that this version does not know "
            f"(it knows {', '.join(available())}); update edgesr or use another file"
        )
    try:
        return create_model(name, **header["config"])
    except ModelError as error:
        raise ModelError(f"{path} has a header that no network fits: {error}") from error


def _require_fit(model: nn.Module, tensors: Mapping[str, Any], path: Path) -> None:
    """Refuse a state whose keys and shapes are not those of ``model``."""
    wanted = model.state_dict()
    # files of tensors alone cannot hold extra state: it may stay as it is
    missing = sorted(key for key in wanted.keys() - tensors.keys() if not key.endswith(EXTRA_STATE))
    unexpected = sorted(tensors.keys() - wanted.keys())
    reshaped = [
        f"{key} is {shape_of(tensors[key])} instead of {shape_of(value)}"
        for key, value in wanted.items()
        if isinstance(value, Tensor)
        and key in tensors
        and shape_of(tensors[key]) != shape_of(value)
    ]
    faults = [
        f"{len(found)} {what} ({', '.join(map(shown, found[:2]))}{', ...' * (len(found) > 2)})"
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


def _fill(model: nn.Module, tensors: Mapping[str, Any], path: Path) -> None:
    """Load ``tensors`` into ``model``; all keys and shapes must agree, all numbers be finite."""
    _require_fit(model, tensors, path)
    _load(model, tensors, path)
    _require_finite(model, str(path))


def _load(model: nn.Module, tensors: Mapping[str, Any], path: Path) -> None:
    try:
        model.load_state_dict({**model.state_dict(), **tensors})
    except Exception as error:  # a third-party set_extra_state may raise anything
        raise ModelError(
            f"{path} does not fit the network {type(model).__name__} ({brief(error)}); use the "
            "weights of this very network"
        ) from error


def _require_finite(model: nn.Module, source: str) -> None:
    """Refuse weights that are not finite; in a buffer, -inf is what masks hold."""
    buffers = dict(model.named_buffers())
    for key, value in model.state_dict().items():
        if isinstance(value, Tensor) and not _usable(value, key in buffers):
            raise ModelError(
                f"{source} holds values that are not finite, in {shown(key)}; use other weights"
            )


def _usable(value: Tensor, buffer: bool) -> bool:
    return bool((value.isfinite() | ((value == -torch.inf) & buffer)).all())
