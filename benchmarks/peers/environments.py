"""A virtual environment for each tool, made when it is first needed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.peer import Environment
from edgesr.errors import EdgesrError

ROOT = Path(__file__).parents[2]
MARK = "edgesr-packages.txt"
MINUTES = 30.0


class PeerError(EdgesrError):
    """A tool cannot be installed, fails, or takes too long."""


@dataclass(frozen=True)
class Environments:
    """The folder of them; without ``install`` only what is there is used."""

    folder: Path
    install: bool = True

    def python(self, environment: Environment) -> str:
        """The interpreter with these packages.

        Raises:
            PeerError: they cannot be installed.
        """
        if not environment.packages:
            return sys.executable
        place = self.folder / environment.name
        python = place / "bin" / "python"
        wanted = "\n".join(environment.packages)
        mark = place / MARK
        if mark.is_file() and mark.read_text("utf-8") == wanted:
            return str(python)
        if not self.install:
            if python.exists():
                return str(python)
            raise PeerError(f"not installed: {place} is not there")
        run([sys.executable, "-m", "venv", str(place)], "venv", 5)
        asked = [str(python), "-m", "pip", "install", "--quiet", *environment.packages]
        run(asked, "not installed: pip", MINUTES)
        mark.write_text(wanted, "utf-8")
        return str(python)


def run(command: list[str], what: str, minutes: float, log: Path | None = None) -> None:
    """Run a command to its end; what it prints goes to ``log``.

    Raises:
        PeerError: it fails, or takes longer.
    """
    with log.open("w+b") if log else tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=variables(), timeout=60 * minutes, check=False,
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PeerError(f"{what}: stopped after {minutes:g} minutes") from None
        if done.returncode:
            said.seek(0)
            raise PeerError(f"{what}: {reason(said.read(), done.returncode)}")


def variables() -> dict[str, str]:
    """The environment of a child: it finds this package."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    return found | {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "export"))),
        "PYTHONWARNINGS": "ignore",
    }


def reason(output: bytes, code: int) -> str:
    """The last line that says something, such as an exception's."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    said = [line for line in lines if line and not line.startswith(("^", "[", "warnings.warn"))]
    errors = [line for line in said if "Error" in line.split(":")[0]]
    last = (errors or said or ["it said nothing"])[-1]
    short = last if len(last) <= 200 else f"{last[:200]} ..."
    return short if code > 0 else f"killed by signal {-code}; last it said: {short}"
