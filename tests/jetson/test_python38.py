"""The board's program must run in Python 3.8 and import nothing that a board may lack."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

BOARD = Path(__file__).parents[2] / "jetson" / "edgesr_jetson" / "board"
FILES = [*sorted(BOARD.glob("*.py")), Path(__file__).parent / "arm64" / "prove.py"]
RUNTIME_GENERICS = {"dict", "list", "tuple", "set", "frozenset", "type", "deque", "Counter"}
NEWER = re.compile(
    r"\.(removeprefix|removesuffix|is_relative_to|readlink|with_stem|hardlink_to|bit_count)\("
    r"|\b(zip|map)\([^)]*strict=|\bmath\.(lcm|nextafter)|functools\.cache\b|graphlib|zoneinfo"
    r"|tomllib|BooleanOptionalAction|itertools\.(pairwise|batched)"
)
ALLOWED = set(sys.stdlib_module_names) | {"numpy"}


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def source(request):
    return request.param.read_text()


def test_it_parses_as_python_3_8(source):
    ast.parse(source, feature_version=(3, 8))


def test_annotations_are_never_evaluated(source):
    tree = ast.parse(source)
    found = [
        annotation
        for node in ast.walk(tree)
        for field in ("annotation", "returns")
        for annotation in [getattr(node, field, None)]
        if annotation is not None
    ]
    future = "from __future__ import annotations" in source
    assert future or all(isinstance(one, (ast.Name, ast.Constant)) for one in found)


def test_nothing_newer_is_called(source):
    assert not NEWER.search(source)


def test_no_generic_is_subscripted_when_it_runs(source):
    tree = ast.parse(source)
    for node in ast.walk(tree):  # annotations are text, so they may hold what they like
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, None)
    abstract = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "collections.abc"
        for alias in node.names
    }
    found = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
    }
    assert not found & (RUNTIME_GENERICS | abstract)


def test_no_union_by_bar_when_it_runs(source):
    tree = ast.parse(source)
    aliases = [n.value for n in tree.body if isinstance(n, ast.Assign)]
    assert not [
        node
        for value in aliases
        for node in ast.walk(value)
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitOr)
        and any(isinstance(side, ast.Constant) and side.value is None
                for side in (node.left, node.right))
    ]  # fmt: skip


def test_imports_are_of_the_board_or_of_python_or_numpy(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or str(node.module).split(".")[0] in ALLOWED


def test_an_older_python_is_told_what_is_needed(monkeypatch, capsys):
    ast.parse((BOARD / "run.py").read_text(), feature_version=(3, 5))
    module = runpy.run_path(str(BOARD / "run.py"), run_name="not main")
    monkeypatch.setattr(sys, "version_info", (3, 6, 9))
    assert module["main"]() == 2
    assert "Python 3.8 or newer" in capsys.readouterr().err
