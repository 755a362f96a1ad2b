"""Where the layers of a runtime come from: nodes of the ONNX file, modules of the network.

Modules: the exporter of torch writes the path of a node's module into its metadata, which
:func:`edgesr_export.onnx.export_onnx` keeps and rewrites carry on; a recorded file carries it in
the names of its nodes.

Nodes: runtimes name what they execute after nodes or after tensors, with additions of their own
(``conv2d_1_nchwc``, ``node_conv2d/WithoutBiases``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of torch's exporter: from the network itself, '', down to the operator."""

_ADDED = ("_nchwc", "_quant")
"""What ONNX Runtime adds to the name of a tensor or node that it replaces."""

FUSED_BEHIND = frozenset(
    ("Add", "BatchNormalization", "Clip", "Div", "Gelu", "HardSigmoid", "LeakyRelu", "Mul", "Relu",
     "Sigmoid", "Sub", "Tanh")
)  # fmt: skip
"""What runtimes compute together with the layer that it follows; all else goes to its reader."""


@dataclass(frozen=True)
class Node:
    """One node of the file.

    Attributes:
        name: its own, or that of its first output.
        op: type of the operator.
        inputs, outputs: names of tensors.
        module: path of the module that it comes from; empty where that is the network itself, or
            unknown.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: str


class Source:
    """The nodes of an ONNX file, found by what runtimes call them.

    Args:
        model: the file's content; weights may be missing.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = tuple(
            Node(
                node.name or node.output[0],
                node.op_type,
                tuple(node.input),
                tuple(name for name in node.output if name),
                module_of(node),
            )
            for node in model.graph.node
        )
        self._by_name = {output: node for node in self.nodes for output in node.outputs}
        self._by_name |= {node.name: node for node in self.nodes}

    def find(self, name: str) -> Node | None:
        """The node that a runtime names; None where it is the runtime's own."""
        while name:
            for added in ("", *_ADDED):
                if name.endswith(added) and name.removesuffix(added) in self._by_name:
                    return self._by_name[name.removesuffix(added)]
            name = name.rpartition("/")[0]
        return None

    def origin(self, names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Nodes and modules that some names stand for, each once, in the order given."""
        found = [node for name in names if (node := self.find(name)) is not None]
        nodes = dict.fromkeys(node.name for node in found)
        modules = dict.fromkeys(node.module for node in found if node.module)
        return tuple(nodes), tuple(modules)

    def absorbed(
        self, executed: Sequence[tuple[str, Sequence[str]]]
    ) -> Mapping[str, tuple[str, ...]]:
        """Which nodes went into what is executed.

        A node that no executed one is named after, or gives the output of, was fused: an activation
        or an addition into the layer before it, anything else into the one that reads it.

        Args:
            executed: name and outputs of what a runtime executes.

        Returns:
            Names of nodes, by the name of what executes them.
        """
        owner: dict[str, str] = {}
        for name, _ in executed:
            if (node := self.find(name)) is not None:
                owner.setdefault(node.name, name)
        self._behind(owner)
        taken = set(owner.values())
        for name, outputs in executed:
            if name not in taken:
                for node in filter(None, map(self._by_name.get, outputs)):
                    owner.setdefault(node.name, name)
        self._behind(owner)
        self._before(owner)
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            if node.name in owner:
                found.setdefault(owner[node.name], []).append(node.name)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def _behind(self, owner: dict[str, str]) -> None:
        """Give what is computed behind a layer to the last layer that it reads from."""
        place = {node.name: index for index, node in enumerate(self.nodes)}
        for node in self.nodes:
            if node.name not in owner and node.op in FUSED_BEHIND:
                before = {self._by_name[name].name for name in node.inputs if name in self._by_name}
                if before & owner.keys():
                    owner[node.name] = owner[max(before & owner.keys(), key=place.__getitem__)]

    def _before(self, owner: dict[str, str]) -> None:
        """Give what nobody has to a layer that reads from it."""
        readers: dict[str, Node] = {}
        for node in reversed(self.nodes):
            reader = next((readers[o] for o in node.outputs if o in readers), None)
            if node.name not in owner and reader is not None and reader.name in owner:
                owner[node.name] = owner[reader.name]
            readers.update(dict.fromkeys(node.inputs, node))


def read_source(path: Path | str) -> Source:
    """The nodes of a file; its weights are not read.

    Raises:
        ExportError: no such file, or no ONNX.
    """
    from edgesr_export.model_file import read_graph

    return Source(read_graph(Path(path)))


def module_of(node: onnx.NodeProto) -> str:
    """Path of the module that a node comes from; empty for the network itself and where unknown."""
    written = next((e.value for e in node.metadata_props if e.key == SCOPES), "")
    if written:
        try:
            scopes = ast.literal_eval(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # of any file
            return ""
        return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else ""
    return _recorded_path(node.name)


def _recorded_path(name: str) -> str:
    """``body.0.norm`` of ``/body/body.0/norm/Transpose``, as recorded files name their nodes."""
    if not name.startswith("/"):
        return ""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)
