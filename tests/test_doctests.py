"""The examples of the docstrings say what happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOTS = (REPOSITORY, REPOSITORY / "export", REPOSITORY / "jetson")
PACKAGES = ("edgesr", "edgesr_export", "edgesr_jetson")
EXAMPLES = [
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root, package in zip(ROOTS, PACKAGES, strict=True)
    for path in sorted((root / package).rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_there_are_examples():
    assert {"edgesr", "edgesr.models._registry"} <= {*EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert result.attempted
    assert not result.failed
