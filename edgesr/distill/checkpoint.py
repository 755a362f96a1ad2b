"""The state of a training, saved after every epoch so that it can be continued."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from edgesr_export.interrupts import held

from edgesr.errors import ModelError, OptionError
from edgesr.files import atomic_path

if TYPE_CHECKING:
    from edgesr.cube.scene import Scene

FORMAT = 1


def save(path: Path, run: dict[str, Any], state: dict[str, Any]) -> None:
    """Write ``state`` with a description of the run that it belongs to; never half a file.

    Raises:
        OptionError: the folder or the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(), atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, "run": run, "state": state}, file)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:100]
        raise OptionError(
            f"the checkpoint {path} cannot be written ({reason}); free some space, or choose"
            " another --output"
        ) from error


def is_checkpoint(path: Path) -> bool:
    """Whether :func:`save` wrote a file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # what a damaged or foreign file raises is not documented
        return False
    return isinstance(content, dict) and {"format", "run", "state"} <= content.keys()


def load(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Read the state of the same run.

    Raises:
        ModelError: the file is no checkpoint, is damaged or contains code.
        OptionError: it belongs to a run with other options, data or network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged or foreign file raises is not documented
        reason = (str(error).splitlines() or [""])[0][:100] or type(error).__name__
        raise ModelError(
            f"{path} is not a readable checkpoint ({reason}); delete it or train without --resume"
        ) from None
    parts = content if isinstance(content, dict) else {}
    whole = isinstance(parts.get("run"), dict) and isinstance(parts.get("state"), dict)
    if parts.get("format") != FORMAT or not whole:
        raise ModelError(f"{path} is not a checkpoint of edgesr; train without --resume")
    saved = content["run"]
    changed = sorted(name for name in run.keys() | saved if run.get(name) != saved.get(name))
    if changed:
        name = changed[0]
        raise OptionError(
            f"{path} belongs to another training: {name} was {saved.get(name)!r}, now "
            f"{run.get(name)!r}; repeat the options of the first run or train without --resume"
        )
    return content["state"]


def digest(parts: Iterable[bytes]) -> str:
    """Short hash of bytes, to tell one training from another."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:12]


def fingerprint(scene: Scene) -> str:
    """What a training reads of a scene, in short: windows, normalisation, degradation."""
    windows = repr((scene.train, scene.tuning)).encode()
    limits = scene.normalisation.lower.tobytes() + scene.normalisation.upper.tobytes()
    return f"{scene.cube.name} {digest([windows, limits, scene.degradation.encode()])}"
