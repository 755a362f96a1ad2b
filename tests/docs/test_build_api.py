"""The API reference shows docstrings as they were meant."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from documents import REPOSITORY
from pdoc.docstrings import convert

SPECIFICATION = importlib.util.spec_from_file_location(
    "build_api", REPOSITORY / "docs" / "build_api.py"
)
build_api = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(build_api)


def docstrings():
    """Every docstring of the library, with where it is."""
    for name in build_api.modules():
        source = importlib.util.find_spec(name).origin
        for node in ast.walk(ast.parse(Path(source).read_text())):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if documented and (text := ast.get_docstring(node)):
                yield f"{name}.{getattr(node, 'name', '')}", text


def test_every_module_is_in_it():
    names = build_api.modules()
    assert {
        "edgesr",
        "edgesr.surgery.passes.lowrank",
        "edgesr_export.rewrite.bicubic",
        "edgesr_jetson.board.run",
    } <= {*names}
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("source", "markdown"),
    [
        ("[N, B, h*scale, w*scale]", r"[N, B, h\*scale, w\*scale]"),
        ("the s*s phases, C_in*k*k", r"the s\*s phases, C_in\*k\*k"),
        ("`a*b` and c*d", r"`a*b` and c\*d"),
        ("is *the* word, **bold**", "is *the* word, **bold**"),
        ("Before.\n\n::\n\n    a*b", "Before.\n\n\n\n    a*b"),
        ("Example::\n\n    a*b", "Example:\n\n    a*b"),
    ],
)
def test_markdown_keeps_what_was_written(source, markdown):
    assert build_api.readable(source) == markdown


def test_no_product_becomes_emphasis():
    for where, text in docstrings():
        markdown = build_api.readable(convert(text, "google", None))
        code_left_out = re.sub(r"^ {4}.*$|`+[^`]*`+|\*\*", "", markdown, flags=re.M)
        for found in re.finditer(r"(?<!\\)\*(?=\S)[^*\n]+(?<=\S)\*", code_left_out):
            inside = found[0].strip("*")
            assert re.fullmatch(r"[\w' -]+", inside), f"{where}: {found[0]}"


def test_pages_are_written(tmp_path):
    build_api.build(tmp_path, ["edgesr.evaluation.tiling", "edgesr.evaluation.evaluate"])
    page = (tmp_path / "edgesr" / "evaluation" / "evaluate.html").read_text()
    shown = page.partition('<section id="super_resolve">')[2].partition("</section>")[0]
    assert "[1, B, h*scale, w*scale]" in shown
    assert '<h6 id="arguments">Arguments:</h6>' in shown
    assert '<a href="tiling.html#tile_limit">' in shown
    assert ":func:" not in re.sub(r'<div class="pdoc-code.*?</div>', "", shown, flags=re.S)
