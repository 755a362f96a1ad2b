"""Run a bundle as an engineer would, and hold what comes out against what must come out.

::

    python3 prove.py BUNDLE_DIR RESULT.json [OPTION of run.py ...]

Every model is verified or skipped with a reason; live lines come out as the reference output;
lines that come too fast are dropped and counted; damaged bundles and useless sources are refused
in one line, with exit code 2 and a result that says why. One line of output a proof; exit code 0
if all hold, 2 at the first that does not. Needs Python 3.8 and numpy; says nothing of speed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable  # noqa: UP035 (Python 3.8 cannot subscript the other one)

import numpy as np

COPIES = 8
"""How often the lines of a tile are repeated where they are to come too fast."""

Change = Callable[[Path], None]


class NotProvedError(Exception):
    """A proof that does not hold."""


def require(holds: bool, claim: str, found: object) -> None:
    """Raise :class:`NotProvedError` unless ``holds``."""
    if not holds:
        raise NotProvedError(f"{claim}; found: {found}")


class Bundle:
    """An unpacked bundle, and how it is run."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder, self.options = folder, options

    def manifest(self) -> dict[str, Any]:
        """Content of manifest.json."""
        return dict(json.loads((self.folder / "manifest.json").read_text()))

    def run(self, output: Path, *options: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, result and standard error of ``run.py``; the latter is shown, too."""
        output.unlink() if output.exists() else None
        done = subprocess.run(
            [sys.executable, "run.py", *self.options, *options, "--output", str(output)],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        stderr = done.stderr.decode(errors="replace")
        print("".join(f"    {line}\n" for line in stderr.splitlines()), end="")
        require(output.exists(), "run.py writes a result", f"none, exit code {done.returncode}")
        return done.returncode, json.loads(output.read_text()), stderr

    def works(self, output: Path, *options: str) -> dict[str, Any]:
        """Result of a run that must succeed."""
        code, result, _ = self.run(output, *options)
        require(code == 0 and result["ok"], "exit code 0 and ok", (code, result["error"]))
        return result

    def refuses(self, message: str, *options: str) -> None:
        """Run, which must end in one line with ``message``, exit code 2 and a result with it."""
        code, result, stderr = self.run(self.folder / "refused.json", *options)
        errors = [line for line in stderr.splitlines() if line.startswith("run.py: error:")]
        require(code == 2, "exit code 2", code)
        require(len(errors) == 1 and "Traceback" not in stderr, "one line of error", errors)
        told = [str(result["error"]), *(entry.get("reason", "") for entry in result["models"])]
        require(any(message in text for text in told), f"a result with {message!r}", told)
        require(not result["ok"], "ok: false in the result", result["ok"])
        left = list(self.folder.rglob("*.part"))
        require(not left, "nothing half-written", left)


def prove_verified(bundle: Bundle, output: Path) -> str:
    """Verify and measure every model; returns the name of one held to an absolute difference."""
    result = bundle.works(output)
    machine = platform.machine()
    require(result["board"]["machine"] == machine, f"machine {machine}", result["board"]["machine"])
    for entry in result["models"]:
        verification = entry.get("verification", {})
        difference = verification.get("max_abs_difference")
        detail = "" if difference is None else f"differs by at most {difference:.1e}"
        held(f"{entry['name']}: {entry['status']}, {detail or entry['reason']}")
    board, runtime = result["board"], result["runtime"]
    held(f"{machine}, {board['system']}, Python {board['python']}, numpy {np.__version__}, "
         f"{runtime['name']} {runtime['version']}")  # fmt: skip
    exact = [
        entry["name"]
        for entry in result["models"]
        if entry["status"] == "verified" and entry["verification"]["tolerance"].get("max_abs")
    ]
    require(bool(exact), "a verified model with an absolute tolerance", result["models"])
    return str(exact[0])


def prove_live(bundle: Bundle, model: str, folder: Path) -> None:
    """Lines of a reference tile must come out as the lines of its reference output."""
    manifest = bundle.manifest()
    entry = next(entry for entry in manifest["models"] if entry["name"] == model)
    tile = first_tile(bundle.folder / manifest["inputs"])
    expected = first_tile(bundle.folder / entry["outputs"])
    lines = np.ascontiguousarray(tile[0].transpose(1, 0, 2))  # [h, B, w]
    source, written = folder / "lines.npy", folder / "live.img"
    live = ["--live", str(source), "--normalised", "--models", model,
            "--block-lines", str(len(lines)), "--write", str(written)]  # fmt: skip
    np.save(source, lines)
    counts = bundle.works(folder / "live.json", *live)["live"]["lines"]
    require(counts["processed"] == len(lines), f"{len(lines)} lines processed", counts)
    error = float(np.abs(read_lines(written, expected.shape) - expected[0]).max())
    require(error <= entry["tolerance"]["max_abs"], "live output is the reference output", error)
    held(f"live: {len(lines)} lines in, {expected.shape[2]} out, differ by at most {error:.1e}")


def prove_drops(bundle: Bundle, model: str, folder: Path) -> None:
    """Lines that come faster than a machine computes must be dropped, counted, and left as NaN."""
    manifest = bundle.manifest()
    lines = first_tile(bundle.folder / manifest["inputs"])[0].transpose(1, 0, 2)
    source, written = folder / "fast.npy", folder / "fast.img"
    live = ["--live", str(source), "--normalised", "--models", model,
            "--block-lines", str(len(lines)), "--write", str(written)]  # fmt: skip
    np.save(source, np.concatenate([lines] * COPIES))
    rate = "100000"
    fast = bundle.works(folder / "fast.json", *live, "--line-rate", rate, "--queue", "1")["live"]
    counts = fast["lines"]
    require(counts["received"] == COPIES * len(lines), "all lines received", counts)
    require(0 < counts["dropped"] < counts["received"], "some lines dropped", counts)
    require(counts["processed"] + counts["dropped"] == counts["received"], "none lost", counts)
    shape = (1, lines.shape[1], 0, lines.shape[2] * manifest["scale"])
    holes = np.isnan(read_lines(written, shape)).all(axis=(0, 2)).sum()
    require(holes == counts["dropped"] * manifest["scale"], "dropped lines are NaN", holes)
    held(f"live at {rate} lines/s: {counts['processed']} super-resolved, {counts['dropped']} "
         "dropped and left as NaN")  # fmt: skip


def prove_refusals(bundle: Bundle, model: str, folder: Path) -> None:
    """Damaged bundles, a wrong answer, and numbers outside [0, 1] must be refused."""
    _, bands, height, width = first_tile(bundle.folder / bundle.manifest()["inputs"]).shape
    np.save(folder / "native.npy", np.full((height, bands, width), 4000.0, np.float32))
    cases: list[tuple[str, Change, str, list[str]]] = [
        ("a changed bit in a model", flip_bit, "has SHA-256", []),
        ("a wrong hash in the manifest", wrong_hash, "has SHA-256", []),
        ("a missing file", remove_inputs, "cannot be read", []),
        ("a file that is not listed", add_file, "is not listed", []),
        ("another bundle", unchanged, "this is bundle", ["--bundle-id", "0" * 64]),
        ("a wrong answer, hashes right", wrong_answer, "does not compute", ["--models", model]),
        ("native numbers said to be in [0, 1]", unchanged, "values from 4000 to 4000",
         ["--live", str(folder / "native.npy"), "--normalised", "--models", model,
          "--block-lines", str(height)]),
    ]  # fmt: skip
    for name, change, message, options in cases:
        copy = Bundle(folder / "changed", bundle.options)
        shutil.copytree(bundle.folder, copy.folder)
        change(copy.folder)
        copy.refuses(message, *options)
        shutil.rmtree(copy.folder)
        held(f"refused with exit code 2: {name}")


def flip_bit(folder: Path) -> None:
    path = min((folder / "models").rglob("*.onnx"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def wrong_hash(folder: Path) -> None:
    edit_manifest(folder, "reference/inputs.npz", "0" * 64)


def remove_inputs(folder: Path) -> None:
    (folder / "reference/inputs.npz").unlink()


def add_file(folder: Path) -> None:
    (folder / "board/more.py").write_text("")


def unchanged(folder: Path) -> None:
    del folder


def wrong_answer(folder: Path) -> None:
    """One value of every first reference output is off by half the range, and hashed anew."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["models"]:
        path = folder / entry["outputs"]
        with np.load(path) as stored:
            tiles = {name: stored[name] for name in stored.files}
        tiles["tile0"][0, 0, 0, 0] += 0.5
        np.savez(path, **tiles)
        edit_manifest(folder, entry["outputs"], hashlib.sha256(path.read_bytes()).hexdigest())


def edit_manifest(folder: Path, name: str, digest: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = {"sha256": digest, "bytes": (folder / name).stat().st_size}
    path.write_text(json.dumps(manifest))


def first_tile(path: Path) -> np.ndarray:
    with np.load(path) as stored:
        return np.asarray(stored["tile0"], dtype=np.float32)


def read_lines(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """ENVI lines (float32, bil) as [B, lines, width]; ``shape`` [1, B, any, W] tells B and W."""
    _, bands, _, width = shape
    return np.fromfile(path, "<f4").reshape(-1, bands, width).transpose(1, 0, 2)


def held(text: str) -> None:
    print(f"proved: {text}", flush=True)


def main(arguments: list[str]) -> int:
    """Run all proofs; returns the exit code."""
    if len(arguments) < 2:
        sys.stderr.write("prove.py: error: name a bundle's folder and a result.json to write\n")
        return 2
    bundle = Bundle(Path(arguments[0]).resolve(), arguments[2:])
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            model = prove_verified(bundle, Path(arguments[1]).resolve())
            prove_live(bundle, model, folder)
            prove_drops(bundle, model, folder)
            prove_refusals(bundle, model, folder)
    except NotProvedError as error:
        sys.stderr.write(f"prove.py: error: not proved: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
