"""Engines and timing caches on disk, valid for one device and one TensorRT only."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_regular, write_atomic, write_json
from .strict_json import parse_json

_LARGEST_DESCRIPTION, _LARGEST_ENGINE = 1 << 24, 1 << 33
_WORDS = {
    "gpu": "GPU",
    "capability": "compute capability",
    "tensorrt": "TensorRT",
    "l4t": "L4T",
    "onnx_sha256": "ONNX file",
}


@dataclass(frozen=True)
class Stored:
    """What is on disk for a model: the engine if it can be used, else why not."""

    plan: bytes | None
    why_not: str | None
    details: dict[str, Any]


class EngineCache:
    """Folder of ``NAME.engine``, each with ``NAME.json`` beside it, and of timing caches.

    Args:
        folder: created when something is written.
        device: ``gpu``, ``capability``, ``tensorrt`` and ``l4t``: what makes an engine foreign.
    """

    def __init__(self, folder: Path, device: dict[str, Any]) -> None:
        self._folder = folder
        self._device = device

    def read(self, name: str, choices: dict[str, Any]) -> Stored:
        """Return the engine of ``name`` if it was built here, by this TensorRT, from this file.

        ``choices`` are the ONNX file's hash and all settings that make another engine.
        """
        engine, side = self._folder / f"{name}.engine", self._folder / f"{name}.json"
        if not engine.exists():
            return Stored(None, None, {})
        try:
            stored = parse_json(read_regular(side, _LARGEST_DESCRIPTION))
            wanted = {**self._device, **choices}
            differing = [key for key in wanted if stored["key"].get(key) != wanted[key]]
            if differing:
                key = differing[0]
                return Stored(
                    None,
                    f"the stored engine is of another {_WORDS.get(key, key)}: "
                    f"{stored['key'].get(key)}, here {wanted[key]}",
                    {},
                )
            plan = read_regular(engine, _LARGEST_ENGINE)
            if hashlib.sha256(plan).hexdigest() != stored["engine_sha256"]:
                return Stored(None, "the stored engine was changed or is damaged", {})
            return Stored(plan, None, {**stored["details"]})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Stored(None, "the stored engine has no usable description", {})

    def write(
        self, name: str, plan: bytes, choices: dict[str, Any], details: dict[str, Any]
    ) -> None:
        """Store an engine and its description.

        Raises:
            BoardError: a full disk or a read-only folder; nothing half-written stays.
        """
        self._make_folder()
        write_atomic(self._folder / f"{name}.engine", plan)
        write_json(
            self._folder / f"{name}.json",
            {
                "key": {**self._device, **choices},
                "engine_sha256": hashlib.sha256(plan).hexdigest(),
                "details": details,
            },
        )

    def read_timing(self) -> bytes:
        """Timing cache of this device, empty where there is none."""
        try:
            return self._timing_path().read_bytes()
        except OSError:
            return b""

    def write_timing(self, content: bytes) -> None:
        """Store the timing cache of this device; BoardError on a full disk."""
        self._make_folder()
        write_atomic(self._timing_path(), content)

    def _timing_path(self) -> Path:
        key = json.dumps(self._device, sort_keys=True).encode()
        return self._folder / f"timing-{hashlib.sha256(key).hexdigest()[:16]}.cache"

    def _make_folder(self) -> None:
        with suppress(OSError):  # the write that follows says what is wrong
            self._folder.mkdir(parents=True, exist_ok=True)
