"""Imports point downward only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LEVELS = [
    {"errors", "files"},
    {"schema", "stored"},
    {"boards", "cube", "latency", "locks", "metrics", "options", "outputs", "progress"},
    {"recipe", "report", "tiling"},
    {"evaluate", "models", "surgery"},
    {"foreign"},
    {"header"},
    {"cost", "distill", "weights"},
    {"entries", "job", "pictures"},
    {"analyze", "compare", "convert", "engine", "training", "upscale"},
    {"deploy", "run"},
    {"deployment", "trials"},
    {"bench", "bundle", "page", "search"},
    {"students"},
    {"pipeline"},
    {"compress"},
    {"reproduce"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
"""Rooms and modules of edgesr from the ground up."""


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports from elsewhere, anywhere in it.

    Left out are imports for type checkers alone and those of a module that runs as a program.
    """
    tree = ast.parse(path.read_text(), str(path))
    apart = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in apart:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """``edgesr.cube.bands`` and ``edgesr/cube/bands.py`` are in ``cube``."""
    return name.split(".")[1]


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert found
    return sorted(found)


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_this_test_sees_imports_within_functions_and_not_those_for_types(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import a.b\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import c\n"
        "def f():\n    from d import e\n    from .here import g\n"
        "if __name__ == '__main__':\n    import h\n"
    )
    assert set(imports(path)) == {"a.b", "typing", "typing.TYPE_CHECKING", "d", "d.e"}


@pytest.mark.parametrize("path", files("export", "jetson"), ids=relative)
def test_export_and_jetson_know_nothing_of_edgesr(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "edgesr"]


@pytest.mark.parametrize("path", files("edgesr"), ids=relative)
def test_edgesr_imports_downward_only(path):
    level = {name: depth for depth, names in enumerate(LEVELS) for name in names}
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    if parts == ("edgesr", "__init__"):
        assert not [name for name in imports(path) if name.startswith("edgesr")]
        return
    own = parts[1]
    assert own in level, f"{own} has no level yet: add it to LEVELS"
    for name in imports(path):
        if not name.startswith("edgesr.") or room(name) in (own, "__version__"):
            continue
        assert level[room(name)] < level[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", files("edgesr", "export"), ids=relative)
def test_the_library_reads_no_benchmark_and_no_test(path):
    forbidden = {"benchmarks", "tests", "jetson", "pytest"}
    if path.name == "bundle.py":
        forbidden.remove("jetson")  # the one command that makes what goes to a board
    assert not [name for name in imports(path) if name.split(".")[0] in forbidden]


def test_export_runs_without_edgesr():
    program = (
        "import sys; sys.modules['edgesr'] = None\n"
        "import edgesr_export.onnx, edgesr_export.refill, edgesr_export.runtime\n"
        "import edgesr_export.verify, edgesr_export.rewrite"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
