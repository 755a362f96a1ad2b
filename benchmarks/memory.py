"""Peak memory of one pass, of a process of its own: what is held beyond the bare runtime.

``python -m benchmarks.memory onnx FILE BANDS SIDE THREADS`` prints bytes; so does
``... torch dacn BANDS SIDE THREADS`` for a network of :mod:`benchmarks.zoo`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgesr.cube.memory import held_memory, most_held_memory


def peak_memory(kind: str, network: Path | str, bands: int, side: int, threads: int) -> int:
    """Bytes that loading a network and one pass of it add to a new process, at the peak.

    Args:
        kind: "onnx" for a file in ONNX Runtime, "torch" for a network of the zoo in eager mode.
        network: the file, or the name.
        bands: of the tile.
        side: of the tile.
        threads: of the runtime.
    """
    words = ["-m", "benchmarks.memory", kind, network, bands, side, threads]
    command = [sys.executable, *map(str, words)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root)
    return int(done.stdout)


def _main(kind: str, network: str, bands: int, side: int, threads: int) -> None:
    import numpy as np

    tile = np.random.default_rng(0).random((1, bands, side, side), dtype=np.float32)
    if kind == "onnx":
        import onnxruntime  # noqa: F401  (its own memory is not the network's)
        from edgesr_export.runtime import session

        before = _start_anew()
        session(network, threads)(tile)
    else:
        import torch

        from benchmarks.zoo import build

        torch.set_num_threads(threads)
        model = build(network, bands=bands)
        lr = torch.from_numpy(tile)
        before = _start_anew()
        with torch.inference_mode():
            model(lr)
    print(most_held_memory() - before)


def _start_anew() -> int:
    """Forget the peak so far, where the system can, and return the memory held now."""
    own = Path("/proc/self/clear_refs")
    if own.exists():
        own.write_text("5")
    return held_memory()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
