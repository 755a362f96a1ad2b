"""Imports point downward only: the contracts of pyproject.toml, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_contracts_of_the_imports_are_kept():
    program = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", program, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_export_runs_without_edgesr():
    program = (
        "import sys; sys.modules['edgesr'] = None\n"
        "import edgesr_export.onnx, edgesr_export.refill, edgesr_export.runtime\n"
        "import edgesr_export.verify, edgesr_export.rewrite"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
