"""What a row of the table is: a tool, its environment, what is asked of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.peers.inputs import Inputs

GENERIC = ("onnxruntime", "openvino", "openvino-bf16")
"""Runtimes of edgesr's own environment; each file that a tool writes is tried in all of them."""

TORCH = ("torch>=2.9,<2.14", "safetensors>=0.5", "numpy>=2", "onnx>=1.19")
"""What :meth:`benchmarks.peers.inputs.Inputs.network` and its export need."""

Call = Callable[["np.ndarray"], "np.ndarray"]
"""From an image [N, B, h, w] to [N, B, h r, w r]."""


@dataclass(frozen=True)
class Environment:
    """What is installed for a tool.

    Attributes:
        name: of its folder; empty for edgesr's own environment.
        packages: as pip wants them, with versions; the first is the tool.
    """

    name: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """A file that a tool has made.

    Attributes:
        label: the setting that it was made with; empty where there is but one.
        file: .onnx, or whatever the tool's own runtime takes.
        runtimes: that it is for; empty for those of the row.
    """

    label: str
    file: Path
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Peer:
    """One row.

    Attributes:
        name: on the command line, and of its folder.
        title: in the table.
        settings: what is asked of the tool, in its own words.
        source: the documentation that was followed.
        make: yields files, one a setting, as soon as each is there.
        environment: that ``make`` runs in, and ``open`` where there is one.
        open: a file and the number of threads to a call, where the tool runs its own files.
        runtimes: names of the runtimes that ``open`` or edgesr's environment runs its files in.
        minutes: that ``make`` may take.
        note: what the figures alone do not tell, such as why a runtime loses what it loses.
    """

    name: str
    title: str
    settings: str
    source: str
    make: Callable[[Inputs, Path], Iterable[Made]]
    environment: Environment = Environment()
    open: Callable[[Path, int], Call] | None = None
    runtimes: tuple[str, ...] = GENERIC
    minutes: float = 30.0
    note: str = ""

    @property
    def module(self) -> str:
        """Where it registers itself."""
        make = self.make.func if isinstance(self.make, partial) else self.make
        return make.__module__


PEERS: dict[str, Peer] = {}


def register(peer: Peer) -> None:
    """Add a row.

    Raises:
        ValueError: the name is taken.
    """
    if peer.name in PEERS:
        raise ValueError(f"two peers are called {peer.name}; rename one")
    PEERS[peer.name] = peer


def load() -> dict[str, Peer]:
    """All rows, in the order of their names, edgesr's own first."""
    from benchmarks.peers import tools

    for module in pkgutil.iter_modules(tools.__path__):
        importlib.import_module(f"{tools.__name__}.{module.name}")
    return dict(sorted(PEERS.items(), key=lambda item: (not is_ours(item[0]), item[0])))


def find(name: str, module: str) -> Peer:
    """A row of one module, without a look at the others."""
    importlib.import_module(module)
    return PEERS[name]


def is_ours(name: str) -> bool:
    """Whether a row is edgesr's own."""
    return name.startswith("edgesr")
