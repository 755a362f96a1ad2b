"""Of a bundle runs what its manifest lists; whatever else is put into its folder does not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from edgesr_jetson.bundle import identity

QUICK = ("--repeats", "1", "--warmup", "0", "--duration", "0", "--idle", "0",
         "--runtime", "onnxruntime", "--threads", "1")  # fmt: skip
MODULES = ("argparse", "json", "hashlib", "pathlib", "importlib", "typing", "numpy", "onnxruntime",
           "zipfile", "sitecustomize")  # fmt: skip


def imported_at_start() -> set[str]:
    """What this Python has imported before any program begins (its site, an editable install)."""
    list_modules = "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", list_modules], capture_output=True, text=True)
    return set(done.stdout.split()) | {"sitecustomize"}


@pytest.fixture
def canary(tmp_path) -> Path:
    """File that planted code would make."""
    return tmp_path / "canary"


def code(canary: Path) -> str:
    """What is planted: it betrays itself, and ends as a run that verified everything."""
    return (
        f"open({str(canary)!r}, 'w').close()\nprint('fp32: verified', flush=True)\n"
        "import os\nos._exit(0)\n"
    )


def unchecked_pyc(source: str) -> bytes:
    """Compiled ``source`` that Python takes without looking at the file that it stands for."""
    import importlib._bootstrap_external as external

    compiled = compile(source, "planted", "exec")
    return bytes(external._code_to_hash_pyc(compiled, b"\0" * 8, False))


def run(folder: Path, *arguments: str, program: str = "run.py", **environment: str):
    return subprocess.run(
        [sys.executable, program, *QUICK, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def refuse(folder: Path, canary: Path, message: str, *arguments: str, **how: str) -> None:
    """Run, which must end in one line with ``message``, exit code 2, and nothing planted run."""
    done = run(folder, *arguments, **how)
    assert not canary.exists()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("run.py: error: ")
    assert message in done.stderr
    assert "verified" not in done.stdout
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize("name", MODULES)
def test_planted_modules(bundle, canary, name):
    (bundle / f"{name}.py").write_text(code(canary))
    package = bundle / name
    package.mkdir()
    (package / "__init__.py").write_text(code(canary))
    refuse(bundle, canary, f"{name}.py is not listed in manifest.json (and 1 more)")


def test_planted_modules_where_outputs_may_lie_are_never_imported(bundle, canary):
    results = bundle / "results"
    results.mkdir()
    planted = set(MODULES) - imported_at_start()
    assert {"argparse", "hashlib", "json", "numpy", "onnxruntime"} <= planted
    for name in planted:
        (results / f"{name}.py").write_text(code(canary))
    done = run(results, program="../run.py", PYTHONPATH=f"{results}{os.pathsep}{bundle}")
    assert not canary.exists()
    assert done.returncode == 0, done.stderr
    assert json.loads((results / "result.json").read_text())["ok"] is True


@pytest.mark.parametrize("name", ["board/__init__", "board/main", "board/verify", "run", "json"])
def test_planted_bytecode(bundle, canary, name):
    cached = Path(importlib.util.cache_from_source(str(bundle / f"{name}.py")))
    cached.parent.mkdir()
    cached.write_bytes(unchecked_pyc(code(canary)))
    (bundle / f"{name}.pyc").write_bytes(cached.read_bytes())  # works without a source
    refuse(bundle, canary, "is not listed in manifest.json (and 1 more)")


def test_planted_bytecode_is_found_by_python_itself(bundle, canary):
    """The traps of this file work: without ``run.py`` they do what they should."""
    cached = Path(importlib.util.cache_from_source(str(bundle / "board/errors.py")))
    cached.parent.mkdir()
    cached.write_bytes(unchecked_pyc(code(canary)))
    done = subprocess.run([sys.executable, "-c", "import board.errors"], cwd=bundle, text=True,
                          capture_output=True)  # fmt: skip
    assert done.stdout == "fp32: verified\n"
    assert canary.exists()


def change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def changed_model(folder: Path, canary: Path) -> None:
    shutil.copy(folder / "models/fp16/model.onnx", folder / "models/fp32/model.onnx")


def changed_program(folder: Path, canary: Path) -> None:
    change(folder, "board/verify.py", "if wrong:", "if False:")


def planted_program(folder: Path, canary: Path) -> None:
    (folder / "board/main.py").write_text(code(canary))


def program_not_listed(folder: Path, canary: Path) -> None:
    planted_program(folder, canary)
    change(folder, "manifest.json", '"board/main.py"', '"board/mine.py"')


def stray_script(folder: Path, canary: Path) -> None:
    (folder / "board/disarm.py").write_text(code(canary))


def package_board(folder: Path, canary: Path) -> None:
    (folder / "board.py").write_text(code(canary))


def linked_program(folder: Path, canary: Path) -> None:
    (folder / "board/main.py").unlink()
    (folder.parent / "main.py").write_text(code(canary))
    (folder / "board/main.py").symlink_to("../../main.py")


def linked_room(folder: Path, canary: Path) -> None:
    (folder / "board").rename(folder.parent / "board")
    (folder / "board").symlink_to("../board")


def linked_model(folder: Path, canary: Path) -> None:
    path = folder / "models/fp32/model.onnx"
    path.rename(folder.parent / "model.onnx")
    path.symlink_to("../../../model.onnx")


def hard_linked_model(folder: Path, canary: Path) -> None:
    path = folder / "models/fp32/model.onnx"
    path.unlink()
    path.hardlink_to(folder / "models/fp16/model.onnx")


def piped_manifest(folder: Path, canary: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


TAMPERINGS = [
    (changed_model, "models/fp32/model.onnx has "),
    (changed_program, "board/verify.py has SHA-256"),
    (planted_program, "board/main.py has SHA-256"),
    (program_not_listed, "board/mine.py"),
    (stray_script, "board/disarm.py is not listed"),
    (package_board, "board.py is not listed"),
    (linked_program, "board/main.py is no file"),
    (linked_room, "board is a link"),
    (linked_model, "models/fp32/model.onnx is no regular file"),
    (hard_linked_model, "models/fp32/model.onnx has "),
    (piped_manifest, "manifest.json is no file"),
]


@pytest.mark.parametrize(("tamper", "message"), TAMPERINGS)
def test_tamperings(bundle, canary, tamper, message):
    tamper(bundle, canary)
    refuse(bundle, canary, message)


def test_a_bundle_within_board_is_not_the_bundle(bundle, canary):
    inner = bundle / "board/board"
    inner.mkdir()
    (inner / "main.py").write_text(code(canary))
    (bundle / "board/manifest.json").write_text("{}")
    refuse(bundle, canary, "is not listed", program="board/run.py")


def test_programs_in_the_bundle_are_not_found(bundle, canary):
    """The board is asked for its power mode before the bundle is verified."""
    trap = bundle / "nvpmodel"
    trap.write_text(f"#!/bin/sh\ntouch {canary}\n")
    trap.chmod(0o755)
    for path in (f".:{os.environ['PATH']}", f"{bundle}:{os.environ['PATH']}"):
        refuse(bundle, canary, "nvpmodel is not listed", PATH=path)


def test_a_looser_tolerance_is_another_bundle(bundle, canary):
    """Who changes the manifest is found by the identity that the desktop told, by nothing else."""
    known = identity(bundle)
    assert run(bundle, "--bundle-id", known, "--models", "fp32").returncode == 0
    change(bundle, "manifest.json", '"max_abs": 0.001', '"max_abs": 0.999')
    refuse(bundle, canary, f"this is bundle {identity(bundle)}, not", "--bundle-id", known)


def test_the_identity_is_told(bundle):
    assert f"bundle {identity(bundle)}: " in run(bundle, "--models", "fp32").stderr
