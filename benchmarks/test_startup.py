"""What a user waits for before anything happens: a new process that imports, or prints help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from benchmarks.interleave import Calls

COMMANDS = {
    "python alone": ("-c", "pass"),
    "import edgesr": ("-c", "import edgesr"),
    "edgesr --help": ("-m", "edgesr", "--help"),
    "edgesr compress --help": ("-m", "edgesr", "compress", "--help"),
    "import edgesr.compress.pipeline": ("-c", "import edgesr.compress.pipeline"),
    "import torch alone": ("-c", "import torch"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_startup(in_turn: Callable[..., None], name: str) -> None:
    def gather() -> tuple[Calls, dict[str, str]]:
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
        calls = {name: partial(run, [sys.executable, *words]) for name, words in COMMANDS.items()}
        return calls, {}

    in_turn("start of a process", name, gather, step=name)
