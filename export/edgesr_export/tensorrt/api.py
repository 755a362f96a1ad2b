"""Which TensorRT is here, and what it can do: asked by attribute, never by version number.

``tensorrt`` and ``tensorrt_rtx`` have the same Python interface. Between 8.5 and 11.x parts of it
came (strong typing, progress, compute capabilities) and went (precision flags, explicit batch),
and some builds leave parts out; a version number knows none of this for sure.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgesr_export.errors import ExportError, one_line

LIBRARIES = ("tensorrt", "tensorrt_rtx")
"""In order of preference: the first serves every GPU, the second builds without one."""

Capability = tuple[int, int]
"""Compute capability of a GPU, major and minor."""


@dataclass(frozen=True)
class Api:
    """An imported TensorRT.

    Attributes:
        module: ``tensorrt`` or ``tensorrt_rtx``.
    """

    module: Any

    @property
    def name(self) -> str:
        return str(self.module.__name__)

    @property
    def version(self) -> str:
        return str(getattr(self.module, "__version__", "unknown"))

    @property
    def typing_flag(self) -> int | None:
        """Bit mask that asks for a strongly typed network; None where there is no such flag."""
        return self._creation_flag("STRONGLY_TYPED")

    @property
    def strongly_typed(self) -> bool:
        """Networks keep the types of the file: by flag, or because nothing else is left."""
        return self.typing_flag is not None or not self.has_precision_flags

    @property
    def has_precision_flags(self) -> bool:
        """The builder may be allowed lower precisions (up to 10.x)."""
        return hasattr(self.module.BuilderFlag, "FP16")

    @property
    def network_flags(self) -> int:
        """Bit mask for a network of explicit batch, strongly typed where that exists."""
        return (self.typing_flag or 0) | (self._creation_flag("EXPLICIT_BATCH") or 0)

    @property
    def capabilities(self) -> dict[Capability, Any]:
        """GPUs that it builds for without having one, by compute capability; empty: none."""
        if not hasattr(self.module.IBuilderConfig, "set_compute_capability"):
            return {}
        members = self.module.ComputeCapability.__members__
        found = {name: re.fullmatch(r"SM(\d+)(\d)", name) for name in members}
        return {
            (int(match[1]), int(match[2])): members[name] for name, match in found.items() if match
        }

    @property
    def has_progress(self) -> bool:
        """The builder reports its progress (8.6 and later)."""
        return hasattr(self.module, "IProgressMonitor")

    def builder_flag(self, name: str) -> Any:
        """The builder flag of that name, or None."""
        return getattr(self.module.BuilderFlag, name, None)

    def _creation_flag(self, name: str) -> int | None:
        flag = getattr(self.module.NetworkDefinitionCreationFlag, name, None)
        return None if flag is None else 1 << int(flag)


def find_api(library: str | None = None) -> Api:
    """The TensorRT of that name, or the first of :data:`LIBRARIES` that can be imported.

    Raises:
        ExportError: none can be imported; the message says why and what to install.
    """
    if library is not None and library not in LIBRARIES:
        raise ExportError(f"TensorRT comes as {' or '.join(LIBRARIES)}, got {library!r}")
    problems = []
    for name in LIBRARIES if library is None else (library,):
        found = _import(name)
        if isinstance(found, Api):
            return found
        problems.append(f"{name}: {found}")
    raise ExportError(
        f"no TensorRT can be imported ({'; '.join(problems)}); install the extra 'tensorrt', or "
        "on a Jetson use the Python of JetPack"
    )


def available() -> list[str]:
    """Names of the TensorRT libraries that can be imported here, best first."""
    return [name for name in LIBRARIES if isinstance(_import(name), Api)]


@cache
def _import(name: str) -> Api | str:
    """The library, or why it cannot be imported."""
    try:
        return Api(importlib.import_module(name))
    except (ImportError, OSError) as error:  # OSError: the library behind the binding is missing
        return one_line(error, 120)


def parse_capability(given: str | Capability) -> Capability:
    """(8, 6) from "8.6", "86", "SM86" or (8, 6).

    Raises:
        ExportError: nothing of the kind.
    """
    if isinstance(given, tuple):
        given = ".".join(map(str, given))
    match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", given.strip().lower())
    if match:
        return int(match[1]), int(match[2])
    raise ExportError(f"a compute capability looks like 8.6 or SM86, got {given!r}")


def capability_text(capability: Capability) -> str:
    """ "8.6"."""
    return "{}.{}".format(*capability)
