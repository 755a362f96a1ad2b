"""edgesr itself: the default job, and the search."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.peers.inputs import Inputs
from benchmarks.peers.peer import Made, Peer, register

RUNTIMES = {"cpu": ("onnxruntime",), "openvino": ("openvino", "openvino-bf16")}
"""Of the files of a target."""


def compressed(
    inputs: Inputs, output: Path, *, name: str, options: Sequence[str]
) -> Iterator[Made]:
    """Copies of the files of a finished run, or of a new one."""
    folder = Path(inputs.facts["runs"].get(name, output / "run"))
    if not folder.is_dir():
        command = [sys.executable, "-m", "edgesr.compress", "--output", str(folder)]
        command += ["--targets", ",".join(RUNTIMES), *options]
        command += ["--weights", weights] if (weights := inputs.facts["weights"]) else []
        subprocess.run(command, check=True)
    for file in sorted((folder / "models").glob("*.onnx")):
        target, _, precision = file.stem.partition("-")
        if target in RUNTIMES and ".native" not in file.name:
            copy = Path(shutil.copyfile(file, output / file.name))
            yield Made(f"{target} {precision}", copy, RUNTIMES[target])


for name, title, options, minutes in (
    ("edgesr-default", "edgesr, default", (), 15.0),
    ("edgesr-search", "edgesr, search", ("--search",), 20.0),
):
    register(
        Peer(
            name,
            title,
            f"python -m edgesr.compress --targets {' '.join((','.join(RUNTIMES), *options))}",
            "../README.md",
            partial(compressed, name=name, options=options),
            minutes=minutes,
        )
    )
