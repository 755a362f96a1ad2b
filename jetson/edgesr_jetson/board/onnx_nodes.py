"""Nodes of an ONNX file and the network's modules that they come from, without onnx or protobuf.

Numbers of fields are those of ``onnx.proto``, which never change.
"""

from __future__ import annotations

import ast
from typing import Iterable, Iterator

from .wire import messages, text

_MODEL_GRAPH, _GRAPH_NODE = 7, 1
_NODE_OUTPUT, _NODE_NAME, _NODE_METADATA = 2, 3, 9
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key under which torch's exporter writes a node's module."""

_ADDED = ("", "_nchwc", "_quant")
"""What onnxruntime adds to the name of a tensor or node that it replaces."""


class Nodes:
    """Nodes by what runtimes call them.

    Args:
        content: of the ONNX file; one that cannot be read has no nodes.
    """

    def __init__(self, content: bytes) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        try:
            for name, outputs, module in _nodes(memoryview(content)):
                for key in outputs:
                    self._known.setdefault(key, (name, module))
                self._known[name] = (name, module)
        except (ValueError, IndexError, SyntaxError, RecursionError, MemoryError):
            self._known = {}

    def origin(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Nodes and modules that some names stand for, each once, in the order given."""
        found = [one for one in map(self._find, names) if one is not None]
        nodes = dict.fromkeys(name for name, _ in found)
        modules = dict.fromkeys(module for _, module in found if module)
        return list(nodes), list(modules)

    def _find(self, name: str) -> tuple[str, str] | None:
        while name:
            for added in _ADDED:
                bare = name[: len(name) - len(added)] if name.endswith(added) else ""
                if bare in self._known:
                    return self._known[bare]
            name = name.rpartition("/")[0]
        return None


def _nodes(model: memoryview) -> Iterator[tuple[str, list[str], str]]:
    """Name, outputs and module of each node."""
    for graph in messages(model, _MODEL_GRAPH):
        for node in messages(graph, _GRAPH_NODE):
            name = text(node, _NODE_NAME)
            outputs = [bytes(output).decode() for output in messages(node, _NODE_OUTPUT)]
            entries = messages(node, _NODE_METADATA)
            kept = {text(entry, _ENTRY_KEY): text(entry, _ENTRY_VALUE) for entry in entries}
            yield name or "".join(outputs[:1]), outputs, _module(name, kept.get(SCOPES, ""))


def _module(name: str, scopes: str) -> str:
    if scopes:
        path = ast.literal_eval(scopes)
        return str(path[-2]) if isinstance(path, list) and len(path) > 1 else ""
    parts: list[str] = []
    for part in name.split("/")[1:-1] if name.startswith("/") else ():
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)
