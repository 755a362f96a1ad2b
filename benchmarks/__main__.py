"""Run the suite, save its results, render the tables: ``python -m benchmarks``.

``--quick`` runs small sizes with few rounds and saves nothing; ``--gpu`` runs the GPU suite;
``--compare FILE`` puts earlier results beside the new ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks import scenes
from benchmarks.machine import file_name
from benchmarks.results import FOLDER
from benchmarks.tables import render

SUITE = FOLDER.parent


def main(words: list[str] | None = None) -> int:
    """Run, save and render; the exit code of what failed, of which nothing is saved."""
    options = _options(words)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "results.json"
        code = int(pytest.main(_arguments(options, saved)))
        if code or options.quick:
            return code or (0 if options.gpu else scenes.main(["--quick"]))
        if not saved.exists():
            print("nothing was measured, so nothing is saved; see the reasons", file=sys.stderr)
            return 1
        content = saved.read_text("utf-8")
        name = file_name(json.loads(content)["machine_info"])
        FOLDER.mkdir(exist_ok=True)
        target = FOLDER / f"{name}.json"
        part = target.with_suffix(".part")
        part.write_text(content + "\n", "utf-8")
        part.replace(target)
    render(target)
    print(f"saved as {target}; tables rendered")
    if options.gpu:
        return 0
    return scenes.main(["--output", str(target.with_name(f"{target.stem}-scenes"))])


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, small; saves nothing")
    parser.add_argument("--gpu", action="store_true", help="the GPU suite instead")
    parser.add_argument("--device", default="cuda", help="of the GPU suite (default: cuda)")
    parser.add_argument("--compare", type=Path, help="earlier results to print beside")
    return parser.parse_args(words)


def _arguments(options: argparse.Namespace, saved: Path) -> list[str]:
    columns = "median,iqr,min,rounds"
    return [
        str(SUITE),
        "--import-mode=prepend",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        f"--benchmark-columns={columns}",
        "--benchmark-sort=name",
        f"--benchmark-json={saved}",
        *(["--quick"] if options.quick else []),
        *(["-m", "gpu", f"--device={options.device}"] if options.gpu else []),
        *([f"--benchmark-compare={options.compare}"] if options.compare else []),
    ]


if __name__ == "__main__":
    sys.exit(main())
